// A question as a person edits it: terms taken apart only as far as needed to add one, take one
// away, or see whether it is there. The language itself is known to the server alone.

/** Terms side by side; what stands in quotes or parentheses stays in one piece. */
export function terms(question: string): string[] {
  const found: string[] = [];
  let term = "";
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < question.length; i++) {
    const c = question[i]!;
    if (quoted && c === "\\") {
      term += c + (question[++i] ?? "");
      continue;
    }
    if (c === '"') quoted = !quoted;
    else if (!quoted && c === "(") depth++;
    else if (!quoted && c === ")") depth--;
    if (!quoted && depth <= 0 && /\s/.test(c)) {
      if (term !== "") found.push(term);
      term = "";
    } else term += c;
  }
  if (term !== "") found.push(term);
  return found;
}

/** A value as it must be written in a term. */
export function value(text: string): string {
  const plain = text !== "" && !/[\s"()]/.test(text) && !text.endsWith("*");
  return plain ? text : `"${text.replace(/(["\\])/g, "\\$1")}"`;
}

export const term = (key: string, text: string): string => `${key}:${value(text)}`;

export const has = (question: string, one: string): boolean => terms(question).includes(one);

/** With the term, or without it when it was there. */
export function toggled(question: string, one: string): string {
  const all = terms(question);
  return (all.includes(one) ? all.filter((t) => t !== one) : [...guarded(question, all), one]).join(" ");
}

export function without(question: string, key: string): string {
  return terms(question)
    .filter((t) => !new RegExp(`^-?${escaped(key)}(:|=|!=|<|>)`).test(t))
    .join(" ");
}

/** With these terms in place of all others of the key. */
export function replaced(question: string, key: string, by: string[]): string {
  const left = without(question, key);
  return [...guarded(left, terms(left)), ...by].join(" ");
}

/** `a OR b` and one more term: the alternatives belong together. */
function guarded(question: string, all: string[]): string[] {
  return all.includes("OR") ? [`(${question.trim()})`] : all;
}

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
