/** The folders that pgark writes into: whether they are there and may be written into, on which file system, and how full that is. */
import { constants, type StatsFs } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import type { Finding } from '../check/finding.ts';
import type { Config } from '../config/config.ts';
import { errnoOf } from '../contracts/errors.ts';
import { formatSize } from '../guardian/format-size.ts';
import { cacheFolder } from '../map/cache-folder.ts';
import { Spool } from '../receive/spool.ts';
import { existing } from '../restore/folders.ts';

type Outcome = Omit<Finding, 'subject' | 'check'>;

/** Bytes that WAL of an outage needs at least. */
const FULL = 256 * 1024 ** 2;
const LITTLE = 2 * 1024 ** 3;

/** Names of file systems by the number that `statfs` gives (Linux, `magic.h`). */
const FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x2fc12fc1, 'zfs'],
  [0x01021994, 'tmpfs'],
  [0x858458f6, 'ramfs'],
  [0x794c7630, 'overlay'],
  [0x6969, 'nfs'],
  [0xff534d42, 'cifs'],
  [0xfe534d42, 'cifs'],
  [0x65735546, 'fuse'],
  [0x4d44, 'vfat'],
  [0x5346544e, 'ntfs'],
  [0x01021997, '9p'],
  [0x00c36400, 'ceph'],
]);

const GONE_WITH_POWER: ReadonlySet<string> = new Set(['tmpfs', 'ramfs']);
const NETWORKED: ReadonlySet<string> = new Set(['nfs', 'cifs', 'fuse', '9p', 'ceph']);

/** Looks at the folders of a config. Nothing is made or written. Never throws. */
export async function examineFolders(config: Config, env: NodeJS.ProcessEnv): Promise<readonly Finding[]> {
  const { spool, ack } = config.receive;
  const cache = cacheFolder(config, env);
  const others: readonly (readonly [check: string, folder: string | undefined])[] = [
    ['drills', config.drill.folder],
    ['agent', config.agent.folder],
    ['served WAL', config.serve.folder],
  ];
  const findings: Finding[] = [];
  const add = (check: string, outcome: Outcome): void => void findings.push({ subject: 'disk', check, ...outcome });
  add('spool', await usable(spool));
  add('space of spool', await space(spool));
  add('type of spool', await durability(spool, ack));
  add('waiting WAL', waiting(spool, config.cluster));
  if (cache !== undefined) {
    const outcome = await usable(cache);
    // Without it everything works, and lists more.
    add('cache', outcome.state === 'failed' ? { ...outcome, state: 'warning' } : outcome);
  }
  for (const [check, folder] of others) if (folder !== undefined) add(check, await usable(folder));
  return findings;
}

/** Whether the folder, or the one in which it would be made, may be written into. */
async function usable(folder: string): Promise<Outcome> {
  try {
    const found = await existing(folder);
    const info = await stat(found);
    if (!info.isDirectory())
      return failed(`${found} is no folder`, `Move it away, or name another folder than ${folder} in the config.`);
    await access(found, constants.W_OK | constants.X_OK);
    if (found === folder) return { state: 'ok', message: `${folder} may be written into` };
    return { state: 'ok', message: `${folder} is not there yet; it can be made in ${found}` };
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    const hint =
      errno === 'EROFS'
        ? 'It lies on what is mounted for reading only: mount it for writing, or allow the unit or container to write there.'
        : `Make it, and give it to the user that runs pgark: install -d -m 0700 -o USER ${folder}`;
    return failed(`${folder} cannot be written into: ${errno}`, hint);
  }
}

async function space(folder: string): Promise<Outcome> {
  const answer = await asked(folder);
  if (typeof answer === 'string')
    return { state: 'skipped', message: `how full it is could not be found out: ${answer}` };
  const { bavail, blocks, bsize, ffree, files } = answer;
  const free = bavail * bsize;
  const total = blocks * bsize;
  const text = `${formatSize(BigInt(free))} of ${formatSize(BigInt(total))} are free for ${folder}`;
  const hint = 'WAL waits there while a storage is away: give it what the server writes in the longest outage.';
  if (files > 0 && ffree < 1000) return failed(`${text}, but only ${ffree} more files fit`, hint);
  if (free < FULL) return failed(text, hint);
  return free < LITTLE ? { state: 'warning', message: text, hint } : { state: 'ok', message: text };
}

async function durability(folder: string, ack: Config['receive']['ack']): Promise<Outcome> {
  const answer = await asked(folder);
  if (typeof answer === 'string') return { state: 'skipped', message: `it could not be found out: ${answer}` };
  return judgeFileSystem(FILE_SYSTEMS.get(answer.type) ?? `0x${answer.type.toString(16)}`, ack);
}

/** Whether what is acknowledged from a spool on this file system is as durable as it is said to be. */
export function judgeFileSystem(type: string, ack: Config['receive']['ack']): Outcome {
  const message = `the spool is on ${type}`;
  if (GONE_WITH_POWER.has(type)) {
    const text = `${message}: what is in it is gone with the power`;
    const hint = 'Put receive.spool on a disk, or let only the storage acknowledge: receive.ack: remote.';
    return ack === 'local' ? failed(text, hint) : { state: 'warning', message: text, hint };
  }
  if (type === 'overlay') {
    const hint = 'Mount a volume for receive.spool: this layer goes with its container.';
    return { state: 'warning', message: `${message}, as if it were in a container without a volume`, hint };
  }
  if (!NETWORKED.has(type)) return { state: 'ok', message };
  const hint = 'Use a disk of this host: every commit that waits for pgark waits for that server.';
  return { state: 'warning', message: `${message}, on another host`, hint };
}

/** What was received and is in no repository yet, or not in all. */
function waiting(folder: string, cluster: string): Outcome {
  try {
    const spool = new Spool(folder, cluster);
    const files = spool.systemIds().flatMap((systemId) => spool.files(systemId));
    const bytes = files.reduce((sum, { size }) => sum + size, 0);
    const amount = files.length === 0 ? 'no WAL' : `${files.length} WAL files, ${formatSize(BigInt(bytes))}`;
    return { state: 'ok', message: `${amount} in the spool of cluster ${cluster}` };
  } catch (error) {
    return failed(
      `the spool cannot be looked into: ${error instanceof Error ? error.message : String(error)}`,
      'Run this as the user that runs pgark.',
    );
  }
}

async function asked(folder: string): Promise<StatsFs | string> {
  try {
    return await statfs(await existing(folder));
  } catch (error) {
    return errnoOf(error) ?? String(error);
  }
}

const failed = (message: string, hint: string): Outcome => ({ state: 'failed', message, hint });
