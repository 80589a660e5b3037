/** What a value has grown by in a minute, since it fell last; nothing where it does not only grow. */
export function growth(values: (number | null)[], stepMs: number): number | null {
  const seen = values.filter((v) => v !== null);
  let from = seen.length - 1;
  // What is still being measured may stand a little lower than the last whole step.
  while (from > 0 && seen[from - 1]! < seen[from]! * 1.001) from--;
  const [first, last, steps] = [seen[from] ?? 0, seen.at(-1) ?? 0, seen.length - 1 - from];
  // Growth of a tenth over five steps is a warm-up no more than it is a leak: it is told, not judged.
  return steps < 5 || last < first * 1.1 ? null : ((last - first) / steps) * (60_000 / stepMs);
}
