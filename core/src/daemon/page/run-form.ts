import type { RunRequest } from '../../schedule/run.ts';

/** As the config allows it for a job. */
const LONGEST_LABEL = 900;

/** Reads the form that begins a run; gives what is wrong with it, for people. */
export function readRunForm(
  form: ReadonlyMap<string, string>,
  by: string,
): { readonly request: RunRequest } | { readonly problem: string } {
  const kind = form.get('kind');
  const label = form.get('label')?.trim() ?? '';
  const level = form.get('level');
  if (kind !== 'backup' && kind !== 'verify' && kind !== 'drill')
    return { problem: 'only a backup, a verification or a drill can be begun here' };
  if (label.length > LONGEST_LABEL || hasControls(label))
    return { problem: `a label has at most ${LONGEST_LABEL} characters, on one line` };
  if (level !== undefined && level !== 'chain' && level !== 'sample' && level !== 'full')
    return { problem: 'there is no such level of a verification' };
  return {
    request: {
      kind,
      by,
      ...(kind === 'backup' && label !== '' && { label }),
      ...(kind === 'verify' && level !== undefined && { level }),
    },
  };
}

function hasControls(text: string): boolean {
  return /\p{Cc}/u.test(text);
}
