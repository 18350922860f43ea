/** What the pages that are made from the code have in common. */

/** Their first line. */
export const MADE = '<!-- Made from the code by test/docs/reference.test.ts; PGARK_UPDATE_DOCS=1 makes it anew. -->';

/** A Markdown table. */
export function table(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(titles), line(titles.map(() => '---')), ...rows.map(line)].join('\n');
}

export const code = (text: string): string => `\`${text}\``;
