/**
 * The names that a certificate proves: the subject's common name, and the DNS names and URIs beside it. An entry with signs that need
 * quoting is no name of a host and is left out, so that nothing can pass for two entries.
 */
export function certificateNames(commonName: string, subjectAltName: string | undefined): readonly string[] {
  const names = new Set<string>();
  if (commonName !== '') names.add(commonName);
  for (const entry of subjectAltName?.includes('"') ? [] : (subjectAltName?.split(', ') ?? [])) {
    const name = /^(?:DNS|URI):(\S+)$/.exec(entry)?.[1];
    if (name !== undefined) names.add(name);
  }
  return [...names];
}
