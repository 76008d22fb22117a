/** What to select, filter and order by. Values are encoded here; operators are the interface's own. */
export interface Query {
  /** Fields, nested ones included: `['id', 'name', 'remote_system(id,name)']` or `'*'`. */
  readonly select?: string | readonly string[];
  /** Property to condition: `{ name: 'eq.mail', size: ['gt.0', 'lt.100'] }`; several conditions must all hold. */
  readonly filter?: Readonly<Record<string, string | readonly string[]>>;
  /** `name.asc`, `['size.desc', 'name']`. */
  readonly order?: string | readonly string[];
}

const listed = (value: string | readonly string[]): string => (typeof value === 'string' ? value : value.join(','));

/** The query part of a URL, with its question mark, or nothing. */
export function queryString(query: Query, more: Readonly<Record<string, string>> = {}): string {
  const params = new URLSearchParams();
  if (query.select !== undefined) params.set('select', listed(query.select));
  for (const [property, conditions] of Object.entries(query.filter ?? {}))
    for (const condition of typeof conditions === 'string' ? [conditions] : conditions)
      params.append(property, condition);
  if (query.order !== undefined) params.set('order', listed(query.order));
  for (const [name, value] of Object.entries(more)) params.set(name, value);
  const text = params.toString();
  return text === '' ? '' : `?${text}`;
}

/** First, last and total of `Content-Range: 0-99/789`; undefined for anything else. */
export function parseContentRange(header: string | undefined): { last: number; total: number } | undefined {
  const match = /^(?:items\s+)?(\d+)-(\d+)\/(\d+)$/.exec(header ?? '');
  return match === null ? undefined : { last: Number(match[2]), total: Number(match[3]) };
}
