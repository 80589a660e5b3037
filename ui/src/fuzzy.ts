// Finds what a few typed letters mean.

/** Higher is better, 0 is no match: letters in order, best at the starts of words and in runs. */
export function score(text: string, typed: string): number {
  const [hay, needle] = [text.toLowerCase(), typed.toLowerCase().replace(/\s+/g, "")];
  if (needle === "") return 1;
  let total = 0;
  let run = 0;
  let from = 0;
  for (const letter of needle) {
    const at = hay.indexOf(letter, from);
    if (at < 0) return 0;
    run = at === from && from > 0 ? run + 1 : 0;
    const starts = at === 0 || /[^a-z0-9]/.test(hay[at - 1]!);
    total += 1 + run * 2 + (starts ? 4 : 0);
    from = at + 1;
  }
  return total + 8 / (8 + hay.length);
}

export function best<T>(all: T[], typed: string, textOf: (one: T) => string, most: number): T[] {
  return all
    .map((one) => ({ one, points: score(textOf(one), typed) }))
    .filter(({ points }) => points > 0)
    .sort((a, b) => b.points - a.points)
    .slice(0, most)
    .map(({ one }) => one);
}
