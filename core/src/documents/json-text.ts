/** A result for programs, over several lines. Big integers become text. */
export function jsonText(value: unknown): string {
  return `${JSON.stringify(value, bigintAsText, 2)}\n`;
}

/** The same on one line. */
export function compactJson(value: unknown): string {
  return `${JSON.stringify(value, bigintAsText)}\n`;
}

function bigintAsText(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
