import type { ArchiveError } from '../../contracts/errors.ts';
import { markup } from './markup.ts';
import { errorText } from './notices.ts';
import { shell } from './shell.ts';
import type { Viewing } from './viewing.ts';

/** Says why there is nothing else to see at an address. */
export function problemPage(
  viewing: Viewing,
  title: string,
  problem: string | Pick<ArchiveError, 'message' | 'hint' | 'code'>,
): string {
  const text = typeof problem === 'string' ? problem : errorText(problem);
  return shell(viewing, { title, body: markup`<h1>${title}</h1><p>${text}</p><p><a href="/">All clusters</a></p>` });
}
