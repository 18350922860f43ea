/** What is wrong with a config: collected, then told all at once. */
import { ArchiveError } from '../contracts/errors.ts';

export interface Problem {
  /** File, or environment variable. */
  readonly source: string;
  readonly line?: number | undefined;
  /** The key, as in `receive.slot`; absent when it is about the file as a whole. */
  readonly path?: string | undefined;
  readonly message: string;
}

/** `pgark.yaml:12: receive.slto: not a known key, did you mean "slot"?` */
function formatProblem({ source, line, path, message }: Problem): string {
  return `${source}${line === undefined ? '' : `:${line}`}: ${path === undefined ? '' : `${path}: `}${message}`;
}

/** One `CONFIG_INVALID` that names every problem. */
export function configInvalid(problems: readonly Problem[], options: { readonly cause?: unknown } = {}): ArchiveError {
  const lines = problems.map(formatProblem);
  const [first = 'the config is not valid'] = lines;
  const message = lines.length < 2 ? first : `the config has ${lines.length} problems:\n  ${lines.join('\n  ')}`;
  return new ArchiveError('CONFIG_INVALID', message, {
    hint: 'Correct it; "pgark config check" looks at the plugins too, and docs/reference/config.md lists the keys.',
    details: { problems },
    ...options,
  });
}
