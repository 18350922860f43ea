import type { RunRequest } from '../../schedule/run.ts';

/** As the config allows it for a job. */
const LONGEST_LABEL = 900;

/** Reads the form that begins a run; gives what is wrong with it, for people. */
export function readRunForm(
  form: Readonly<Record<string, unknown>>,
  by: string,
): { readonly request: RunRequest } | { readonly problem: string } {
  const { kind, label, level } = form;
  if (kind !== 'backup' && kind !== 'verify' && kind !== 'drill')
    return { problem: 'only a backup, a verification or a drill can be begun here' };
  if (label !== undefined && typeof label !== 'string') return { problem: 'the label is not a text' };
  const text = label?.trim() ?? '';
  if (text.length > LONGEST_LABEL || hasControls(text))
    return { problem: `a label has at most ${LONGEST_LABEL} characters, on one line` };
  if (level !== undefined && level !== 'chain' && level !== 'sample' && level !== 'full')
    return { problem: 'there is no such level of a verification' };
  return {
    request: {
      kind,
      by,
      ...(kind === 'backup' && text !== '' && { label: text }),
      ...(kind === 'verify' && level !== undefined && { level }),
    },
  };
}

function hasControls(text: string): boolean {
  return /\p{Cc}/u.test(text);
}
