/** What the host and this process are like: enough for somebody else to see what he has before him. */
import { readFile } from 'node:fs/promises';
import { arch, availableParallelism, freemem, platform, release, totalmem, userInfo } from 'node:os';
import type { Finding } from '../check/finding.ts';
import { formatSize } from '../guardian/format-size.ts';
import { VERSION } from '../version.ts';
import { nodeSupport } from './node-support.ts';

/** Bytes below which large backups may not fit. */
const LEAST_MEMORY = 512 * 1024 ** 2;
/** Files that a receiver with several repositories may have open at once, many times over. */
const LEAST_FILES = 1024;

type Outcome = Omit<Finding, 'subject' | 'check'>;

/** Looks at the host. Never throws. */
export async function examineHost(): Promise<readonly Finding[]> {
  const findings: readonly (readonly [check: string, outcome: Outcome])[] = [
    ['pgark', { state: 'ok', message: `pgark ${VERSION}` }],
    ['node', nodeSupport(process.versions.node, Date.now())],
    ['system', { state: 'ok', message: await system() }],
    ['memory', memory()],
    ['open files', openFiles(await read('/proc/self/limits'))],
    ['user', user()],
  ];
  return findings.map(([check, outcome]) => ({ subject: 'host', check, ...outcome }));
}

async function system(): Promise<string> {
  const named = /^PRETTY_NAME="?([^"\n]*)"?$/m.exec((await read('/etc/os-release')) ?? '')?.[1];
  const cores = availableParallelism();
  return `${named ?? platform()}, ${platform()} ${release()} on ${arch()}, ${cores} ${cores === 1 ? 'core' : 'cores'}`;
}

function memory(): Outcome {
  const size = (bytes: number): string => formatSize(BigInt(bytes));
  const total = totalmem();
  const limit = process.constrainedMemory();
  // Without a limit the answer is 0, or a number beyond all memory.
  const limited = limit > 0 && limit < total;
  const most = limited ? limit : total;
  const text = `${size(most)}${limited ? `, the limit of this process, on a host with ${size(total)}` : ''}, ${size(
    limited ? process.availableMemory() : freemem(),
  )} of it free`;
  if (most >= LEAST_MEMORY) return { state: 'ok', message: text };
  return { state: 'warning', message: text, hint: `Give pgark at least ${size(LEAST_MEMORY)}.` };
}

/** `limits`: the text of `/proc/self/limits`. */
export function openFiles(limits: string | undefined): Outcome {
  const [, soft, hard] = /^Max open files +(\S+) +(\S+)/m.exec(limits ?? '') ?? [];
  if (soft === undefined) return { state: 'skipped', message: 'this system does not tell how many files may be open' };
  const message = `${soft} files may be open at once (at most ${hard})`;
  if (soft === 'unlimited' || Number(soft) >= LEAST_FILES) return { state: 'ok', message };
  const hint = `Raise it to ${LEAST_FILES} or more: LimitNOFILE= of the unit, or "ulimit -n".`;
  return { state: 'warning', message, hint };
}

function user(): Outcome {
  const uid = process.getuid?.();
  let name: string | undefined;
  try {
    name = userInfo().username;
  } catch {
    // In a container an id need not have a name.
  }
  const message = `runs as ${name ?? 'a user without a name'}${uid === undefined ? '' : ` (uid ${uid}, gid ${process.getgid?.()})`}`;
  if (uid !== 0) return { state: 'ok', message };
  const hint = 'Run it as a user of its own: pgark needs root for nothing, and what root has made others cannot read.';
  return { state: 'warning', message, hint };
}

async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined; // another system
  }
}
