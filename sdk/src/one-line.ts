/** What has no place in a line of text: controls, halves of characters, and marks that turn the direction of what follows. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u2028\u2029\u202A-\u202E\u2066-\u2069]+/gu;

/**
 * The text as one line of at most `limit` UTF-16 units; of a longer one the beginning, with an ellipsis.
 *
 * Line breaks and what cannot be printed become a space, so that text of an event cannot pass for lines of a message. `escape` is applied to
 * each character before it is counted: what it gives is never cut in the middle.
 */
export function oneLine(text: string, limit: number, escape?: (character: string) => string): string {
  let line = '';
  let fitting = '';
  for (const character of text.replace(UNPRINTABLE, ' ').trim()) {
    line += escape === undefined ? character : escape(character);
    if (line.length > limit) return `${fitting}…`;
    if (line.length < limit) fitting = line;
  }
  return line;
}
