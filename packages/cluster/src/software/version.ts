/** What a release is called, in PowerStore's four-part form and with the build beside it. */
export interface Software {
  /** Version of the REST interface, as clients compare it: `4.1.0.0`. */
  readonly release_version: string;
  /** The same with the number of the build: `4.1.0.0.1`. */
  readonly build_version: string;
  readonly build_id: string;
  readonly build_type: 'Release' | 'Hotfix' | 'Beta';
  /** ISO 8601. */
  readonly release_timestamp: string;
}

/** What this code is, where no package says otherwise. */
export const builtInSoftware: Software = {
  release_version: '4.1.0.0',
  build_version: '4.1.0.0.1',
  build_id: '4.1.0.0.1',
  build_type: 'Release',
  release_timestamp: '2026-11-24T00:00:00.000+00:00',
};

/** Numbers and dots, four parts and a build: what can be compared. */
export const buildVersionPattern = '^\\d{1,6}(\\.\\d{1,6}){4}$';

/** Less than, equal to or greater than zero, part by part as numbers. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number));
  for (let part = 0; part < Math.max(left!.length, right!.length); part++) {
    const difference = (left![part] ?? 0) - (right![part] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The first four parts. */
export const releaseOf = (buildVersion: string): string => buildVersion.split('.').slice(0, 4).join('.');
