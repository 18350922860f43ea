/** Reads what `strace -f -y` has written. */
import { readFileSync } from 'node:fs';

interface SystemCall {
  readonly name: string;
  readonly args: string;
  /** `0`, the value, or the errno. */
  readonly result: string;
}

/** The calls in the order in which they ended. */
function callsOf(log: string): readonly SystemCall[] {
  const begun = new Map<string, string>();
  const calls: SystemCall[] = [];
  for (const line of readFileSync(log, 'utf8').split('\n')) {
    const [, pid = '', rest = ''] = /^(\d+) +(.*)$/u.exec(line) ?? [];
    if (rest.endsWith('<unfinished ...>')) {
      begun.set(pid, rest.slice(0, -'<unfinished ...>'.length));
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/u.exec(rest);
    const whole = resumed === null ? rest : `${begun.get(pid) ?? ''}${resumed[1] ?? ''}`;
    const call = /^(\w+)\((.*)\) += (-?\d+)(?: (E[A-Z]+))?/u.exec(whole);
    if (call !== null) calls.push({ name: call[1] ?? '', args: call[2] ?? '', result: call[4] ?? call[3] ?? '' });
  }
  return calls;
}

/** The results of all calls of one name. */
export function resultsOf(log: string, name: string): readonly string[] {
  return callsOf(log)
    .filter((call) => call.name === name)
    .map(({ result }) => result);
}

/**
 * The calls that succeeded on paths in `root`, as words: `fsync a/b`. Temporary files are `temporary`, writes of any kind
 * `write`, several in a row one; `tell` is the line on standard output that says what came of it.
 */
export function stepsOf(log: string, root: string): readonly string[] {
  const steps: string[] = [];
  for (const { name, args, result } of callsOf(log)) {
    if (result.startsWith('E')) continue;
    if (name === 'write' && args.startsWith('1<')) steps.push('tell');
    const paths = [...args.matchAll(/["<]([^">]*)[">]/gu)].map((match) => match[1] ?? '');
    const inside = paths
      .filter((path) => path === root || path.startsWith(`${root}/`))
      .map((path) => path.slice(root.length + 1) || '.')
      .map((path) => path.replace(/^\.pgark-tmp\/.*$/u, 'temporary'));
    const step = [name.replace(/^p?writev?$/u, 'write'), ...inside].join(' ');
    if (inside.length > 0 && step !== steps.at(-1)) steps.push(step);
  }
  return steps;
}
