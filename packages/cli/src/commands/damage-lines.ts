import type { StoredDamage } from '@antipode/blocks';

/** One damage in lines for people: where it is seen first, by volume, then where it lies in the log. */
export function damageLines({ detail, segment, offset, bytes, seen }: StoredDamage): readonly string[] {
  const length = bytes === undefined ? '' : `, ${bytes} bytes`;
  const place = segment === undefined ? '' : ` [segment ${segment} at ${offset}${length}]`;
  if (seen.length === 0) return [`  ${detail}${place}; no volume is known to show it`];
  return seen.map((range) => {
    const points = range.points.map(({ id, name }) => `${name} (${id})`).join(', ');
    const where = range.head ? '' : `, only in snapshot ${points}`;
    return `  volume ${range.name} (${range.volume})${where}: offset ${range.offset}, ${range.length} bytes: ${detail}${place}`;
  });
}
