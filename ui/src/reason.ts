// What a service answered, said in words: many answer with a problem document (RFC 9457).

interface Said {
  title?: unknown;
  detail?: unknown;
  message?: unknown;
  error?: unknown;
}

/** «last with 422: {"title":"Bad","detail":"no sku"}» becomes «last with 422: Bad: no sku». */
export function plainly(reason: string): string {
  const at = reason.indexOf("{");
  if (at < 0) return reason;
  let said: Said;
  try {
    said = JSON.parse(reason.slice(at)) as Said;
  } catch {
    return reason; // cut off, or something else
  }
  const words = [said.title, said.detail, said.message, said.error].filter((word): word is string => typeof word === "string" && word !== "");
  return words.length > 0 ? reason.slice(0, at) + words.join(": ") : reason;
}
