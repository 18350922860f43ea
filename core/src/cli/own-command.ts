/** How the running program is started again, by another process and from another folder. */
import { resolve } from 'node:path';

/** Flags of Node without which the program does not run: those with which it is started from source. */
const KEPT = /^(?:--conditions|--import)(?:=|$)/;

/** Program and arguments, absolute, without those of the present command. */
export function ownCommand(
  argv: readonly string[] = process.argv,
  execArgv: readonly string[] = process.execArgv,
): readonly string[] {
  const [program = process.execPath, script = ''] = argv;
  const flags = execArgv.filter(
    (flag, at) => KEPT.test(flag) || (KEPT.test(execArgv[at - 1] ?? '') && !flag.startsWith('-')),
  );
  return [program, ...flags, resolve(script)];
}
