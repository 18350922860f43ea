import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { errnoOf, throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { Owner } from '../restore/owner.ts';
import type { DrillCheck } from './drill-result.ts';
import { hasProgram, type Programs } from './programs.ts';

const run = promisify(execFile);
/** Bytes of output that are read: one line for each damaged page. */
const OUTPUT = 1 << 20;

export interface PageChecksumOptions extends CallOptions {
  readonly programs: Programs;
  /** Of a server that was stopped cleanly. */
  readonly data: string;
  /** Whether the cluster has checksums. */
  readonly enabled: boolean;
  readonly owner: Owner | undefined;
  readonly env: NodeJS.ProcessEnv;
}

/** Reads every page and compares its checksum, with `pg_checksums`. */
export async function checkPages({
  programs,
  data,
  enabled,
  owner,
  env,
  signal,
}: PageChecksumOptions): Promise<DrillCheck> {
  const name = 'checksums';
  if (!enabled) return { name, outcome: 'skipped', detail: 'the cluster has no data checksums' };
  if (!(await hasProgram(programs, 'pg_checksums')))
    return { name, outcome: 'skipped', detail: `not checked: there is no pg_checksums in ${programs.folder}` };
  try {
    const { stdout } = await run(join(programs.folder, 'pg_checksums'), ['--check', '-D', data], {
      maxBuffer: OUTPUT,
      env: { ...env, LC_ALL: 'C' },
      ...(signal === undefined ? {} : { signal }),
      ...owner,
    });
    const blocks = /Blocks scanned: +(\d+)/.exec(stdout)?.[1];
    return { name, outcome: 'passed', detail: `${blocks ?? 'all'} pages` };
  } catch (error) {
    throwIfAborted(signal, 'the drill');
    const { stdout = '', stderr = '' } = error as { readonly stdout?: string; readonly stderr?: string };
    const bad = /Bad checksums: +(\d+)/.exec(stdout)?.[1];
    if (bad !== undefined && bad !== '0')
      return { name, outcome: 'failed', detail: `${bad} damaged pages`, said: stderr };
    const why = errnoOf(error) ?? 'see what it said';
    return {
      name,
      outcome: 'inconclusive',
      detail: `pg_checksums did not work: ${why}`,
      said: stderr || String(error),
    };
  }
}
