/** Which rows of a long list must be in the page: those in sight, and a few more. */
export function visible(
  rows: number,
  rowHeight: number,
  scrolled: number,
  height: number,
  spare = 12,
): { first: number; last: number } {
  const first = Math.max(0, Math.floor(scrolled / rowHeight) - spare);
  const last = Math.min(rows, Math.ceil((scrolled + height) / rowHeight) + spare);
  return { first: Math.min(first, last), last };
}
