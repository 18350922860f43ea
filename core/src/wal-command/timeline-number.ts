/** Reads the number of a timeline as PostgreSQL prints it; undefined for what is none. Loads nothing: the client of the agent needs it. */
export function parseTimelineNumber(text: string): number | undefined {
  const number = /^[1-9]\d{0,9}$/.test(text) ? Number(text) : 0;
  return number >= 1 && number <= 0xffffffff ? number : undefined;
}
