/** A figure with three digits that count and thousands apart. */
export function show(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString('en-US');
  if (size >= 100 || size === 0) return value.toFixed(0);
  return value.toFixed(size >= 10 ? 1 : 2);
}

export const showRatio = (value: number): string => (Number.isFinite(value) ? `${value.toFixed(2)}x` : '-');

export const showSpread = (share: number): string => `±${Number.isFinite(share) ? Math.round(share * 100) : '?'}%`;
