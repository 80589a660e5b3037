/** A round number at or above. */
export function ceiling(n: number): number {
  if (n <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(n));
  return ([1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= n * 0.9999) ?? 10) * power;
}
