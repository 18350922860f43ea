/**
 * A real archive in three codec chains is damaged at random, one object at a time: each time verification finds it and names the object. Twelve
 * times for each chain; 200 times with PGARK_TEST_FULL=1.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openParts } from '../../core/src/archive-parts.ts';
import { loadConfig } from '../../core/src/config/load.ts';
import { parseLsn } from '../../core/src/postgres/lsn.ts';
import { segmentName, segmentNumber } from '../../core/src/postgres/wal-file.ts';
import type { BackupRecord } from '../../core/src/repository/backup-record.ts';
import type { Repository } from '../../core/src/repository/repository.ts';
import { recordResults } from '../../core/src/verify/fact.ts';
import type { Finding, Skipped } from '../../core/src/verify/finding.ts';
import { verify, type VerifyOptions } from '../../core/src/verify/verify.ts';
import { expectClean } from '../support/amcheck.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli, type CliResult } from '../support/cli.ts';
import { later } from '../support/later.ts';
import { PostgresServer } from '../support/postgres.ts';
import { randomFrom } from '../support/random.ts';
import { startAndPromote } from '../support/restoring.ts';
import { SCALE } from '../support/scale.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { CHAIN_NAMES, treeOf, VerifiedArchives, type ChainName } from '../support/verified-archives.ts';

const DAMAGES = SCALE === 'full' ? 200 : 12;

/** Milliseconds; two hundred full reads take longer than one test may by default. */
const TIME = SCALE === 'full' ? 1_800_000 : 300_000;

let archives: VerifiedArchives;
beforeAll(async () => {
  archives = await VerifiedArchives.make();
}, 300_000);
afterAll(() => archives?.destroy());

interface Found {
  readonly findings: readonly Finding[];
  readonly skipped: readonly Skipped[];
}

async function opened(config: string): Promise<Repository> {
  const loaded = await loadConfig({ path: config, env: {}, directory: archives.folder });
  const archive = later(await openParts(loaded, { logger: silentLogger }), (one) => one.close());
  return archive.repositories[0];
}

async function full(repository: Repository, options: Partial<VerifyOptions> = {}): Promise<Found> {
  const { subjects, stopped } = await verify({ repository, level: 'full', concurrency: 2, patience: 0, ...options });
  expect(stopped).toBeUndefined();
  return {
    findings: subjects.flatMap(({ report }) => report.findings),
    skipped: subjects.flatMap(({ report }) => report.skipped),
  };
}

/** What an object is, as far as the places of damages are chosen by it. */
function kindOf(key: string): string {
  if (key.endsWith('/backup.json')) return 'backup.json';
  if (key.includes('/backup_manifest')) return 'manifest';
  if (key.includes('/files.json')) return 'file list';
  if (key.includes('/backups/')) return 'part';
  if (key.includes('.history-')) return 'history';
  return key.includes('.tail/') ? 'slice' : 'segment';
}

/** One damage to an object; undefined stands for an object that is gone. */
function damaged(
  bytes: Buffer,
  { random, isNeeded }: { readonly random: () => number; readonly isNeeded: boolean },
): { readonly what: string; readonly bytes?: Buffer } {
  const kind = random();
  if (kind < 0.15 && isNeeded) return { what: 'removed' };
  if (kind < 0.4) {
    const length = Math.floor(random() * bytes.byteLength);
    return { what: `cut to ${length} of ${bytes.byteLength} bytes`, bytes: bytes.subarray(0, length) };
  }
  const bit = Math.floor(random() * bytes.byteLength * 8);
  const flipped = Buffer.from(bytes);
  flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
  return { what: `bit ${bit} of ${bytes.byteLength * 8} flipped`, bytes: flipped };
}

/** The record of a backup in the folder of a repository. */
function recordOf(folder: string, id: string): BackupRecord {
  const key = treeOf(folder).find((one) => one.endsWith(`${id}/backup.json`)) ?? '';
  return JSON.parse(readFileSync(join(folder, key), 'utf8')) as BackupRecord;
}

function firstSegment({ timeline, startLsn, segmentSize }: BackupRecord): string {
  return segmentName(timeline, segmentNumber(parseLsn(startLsn), segmentSize), segmentSize);
}

describe.each(CHAIN_NAMES)('%s', (chain) => {
  test(
    `H-39, H-60 each of ${DAMAGES} random damages is found, and names its object`,
    async () => {
      const folder = join(archives.folder, chain);
      const repository = await opened(archives.config(chain, [{ name: chain }]));
      const whole = await verify({ repository, level: 'full' });
      expect(whole.subjects.map(({ subject }) => subject)).toEqual(['repository', 'wal', ...archives.backups]);
      for (const { report } of whole.subjects)
        expect(report).toMatchObject({ findings: [], skipped: [], findingCount: 0, skippedCount: 0 });
      expect(whole.stopped).toBeUndefined();
      const keys = treeOf(folder).filter((key) => key.startsWith('main/') && !key.endsWith('pgark.json'));
      // Every object was looked at, each once.
      expect(whole.subjects.reduce((sum, { report }) => sum + report.objects, 0)).toBe(keys.length + 1);
      expect(await recordResults(repository, whole)).toBeUndefined();

      const seed = Math.floor(Math.random() * 1e9);
      console.log(`${chain}: seed ${seed}`);
      const random = randomFrom(seed);
      const kinds = [...new Set(keys.map(kindOf))].sort();
      expect(kinds).toEqual(['backup.json', 'file list', 'history', 'manifest', 'part', 'segment', 'slice']);
      const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)] as Item;
      const record = keys.find((key) => key.endsWith(`${archives.backups[0]}/backup.json`)) ?? '';
      const first = firstSegment(JSON.parse(readFileSync(join(folder, record), 'utf8')) as BackupRecord);
      const missed: string[] = [];
      const closed: string[] = [];
      for (let number = 0; number < DAMAGES; number++) {
        if (number % 20 === 0 && number > 0) console.log(`${chain}: ${number} damages, missed ${missed.length}`);
        const kind = number < kinds.length ? (kinds[number] as string) : pick(kinds);
        const key = pick(keys.filter((one) => kindOf(one) === kind));
        const path = join(folder, key);
        const before = readFileSync(path);
        const segment = /\/([0-9A-F]{24})-/.exec(key)?.[1] ?? first;
        // A slice of a segment that came whole, commit times, and WAL from before the first backup may go: nothing is lost with them.
        const isNeeded = !key.includes('.tail/') && !key.includes('/times/') && segment >= first;
        const { what, bytes } = damaged(before, { random, isNeeded });
        if (bytes === undefined) rmSync(path);
        else writeFileSync(path, bytes);
        try {
          const backup = /\/backups\/([^/]+)\//.exec(key)?.[1];
          const scope = backup === undefined ? { backups: [], wal: true } : { backups: [backup], wal: false };
          const { findings, skipped } = await full(repository, scope);
          const named = (one: { readonly key: string }): boolean =>
            one.key === key || (bytes === undefined && key.startsWith(one.key));
          if (findings.some(named)) continue;
          // Of a stanza of age that was altered nobody can say that it is not for another key.
          const isClosed = skipped.some((one) => named(one) && one.code === 'CODEC_KEY');
          if (isClosed && chain === 'zstd-age' && backup === undefined) closed.push(`${key}: ${what}`);
          else missed.push(`${key}: ${what}`);
        } finally {
          writeFileSync(path, before);
        }
      }
      console.log(`${chain}: ${DAMAGES} damages, ${closed.length} told as "no key opens it": ${closed.join('; ')}`);
      expect(missed).toEqual([]);
      // The very first or last object of the WAL, within its header of some hundred bytes.
      expect(closed.length).toBeLessThanOrEqual(Math.max(1, DAMAGES / 20));
      const after = await full(repository);
      expect(after).toEqual({ findings: [], skipped: [] });
    },
    TIME,
  );
});

/** The command line, as the user of the server. */
async function pgark(config: string, args: readonly string[]): Promise<CliResult> {
  return runCli(['--config', config, ...args], { ...serverUser() });
}

/** A copy of an archive that may be damaged, removed at the end of the test. */
function copyOf(chain: ChainName, name: string): string {
  const path = later(join(archives.folder, name), (folder) => rmSync(folder, { recursive: true, force: true }));
  cpSync(join(archives.folder, chain), path, { recursive: true });
  const user = serverUser();
  if (user !== undefined) spawnSync('chown', ['-R', `${user.uid}:${user.gid}`, path]);
  return path;
}

function flipIn(path: string): void {
  const bytes = readFileSync(path);
  const at = bytes.byteLength >> 1;
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  writeFileSync(path, bytes);
}

interface VerifyDocument {
  readonly repository: string;
  readonly recorded: boolean;
  readonly subjects: readonly {
    readonly subject: string;
    readonly state: string;
    readonly findings: readonly Finding[];
  }[];
}

test('an archive that was healed from another repository is restored, with all rows', async () => {
  const near = copyOf('zstd-age', 'near');
  const far = copyOf('plain', 'far');
  const both = archives.config('both', [
    { name: 'zstd-age', path: near, as: 'near' },
    { name: 'plain', path: far, as: 'far' },
  ]);
  const alone = archives.config('alone', [{ name: 'zstd-age', path: near, as: 'near' }]);
  const [, backup] = archives.backups;
  const keys = treeOf(near);
  const segments = keys.filter((key) => /\/[0-9A-F]{24}-/.test(key));
  const { stopLsn, segmentSize } = recordOf(near, archives.backups[0]);
  const end = segmentName(1, segmentNumber(parseLsn(stopLsn), segmentSize), segmentSize);
  // The first two behind the first backup, and the last of all.
  const [removed, next] = segments.filter((key) => key.slice(key.lastIndexOf('/') + 1).slice(0, 24) > end);
  const flipped = segments.at(-1);
  const part = keys.find((key) => key.includes(`${backup}/base/0001.tar`));
  if (flipped === undefined || removed === undefined || next === undefined || part === undefined)
    throw new Error('the archive is too small');
  flipIn(join(near, flipped));
  for (const key of [removed, next]) rmSync(join(near, key));
  flipIn(join(near, part));

  const found = await pgark(both, ['--json', 'verify', '--full', '--repository', 'near']);
  expect(found, found.stderr).toMatchObject({ code: 4 });
  const [document] = JSON.parse(found.stdout) as VerifyDocument[];
  expect(document).toMatchObject({ repository: 'near', recorded: true });
  const states = new Map(document?.subjects.map(({ subject, state }) => [subject, state]));
  expect([states.get('wal'), states.get(backup), states.get(archives.backups[0])]).toEqual([
    'damaged',
    'damaged',
    'good',
  ]);
  const listed = await pgark(alone, ['list']);
  expect(listed.stdout).toMatch(new RegExp(`${backup}.*full, .* ago: DAMAGED`));

  const healed = await pgark(both, ['verify', '--full', '--heal', '--repository', 'near']);
  expect(healed, healed.stdout + healed.stderr).toMatchObject({ code: 0 });
  expect(healed.stdout.match(/healed:/g)).toHaveLength(3);
  // It was read back, and is whole to a run that knows nothing of this.
  const again = await pgark(alone, ['verify', '--full']);
  expect(again, again.stdout + again.stderr).toMatchObject({ code: 0 });
  expect((await pgark(alone, ['show', backup])).stdout).toMatch(/^verified +full, .* ago$/m);

  const data = join(archives.folder, 'restored');
  const options = ['--no-sync', '--no-try-command', '--backup', backup, '--target-timeline', 'latest'];
  const tablespaces = ['--tablespace', `${join(archives.folder, 'tablespace')}=${join(archives.folder, 'moved')}`];
  const restored = await pgark(alone, ['restore', data, ...options, ...tablespaces]);
  expect(restored, restored.stderr).toMatchObject({ code: 0 });
  const clone = later(await PostgresServer.open(18, data), (one) => one.destroy());
  await startAndPromote(clone);
  expect(await clone.value('SELECT count(*) FROM rows WHERE m = md5(n::text)')).toBe('70001');
  expect(await clone.value('SELECT count(*) FROM apart')).toBe('3000');
  await expectClean(clone);
});

test('a repository that is only read keeps no result, and it is said so; the file of --resume goes with the end', async () => {
  const path = copyOf('plain', 'read-only');
  const config = archives.config('read-only', [{ name: 'plain', path }]);
  const content = JSON.parse(readFileSync(config, 'utf8')) as { readonly repositories: readonly object[] };
  const repositories = content.repositories.map((repository) => ({ ...repository, readOnly: true }));
  writeFileSync(config, JSON.stringify({ ...content, repositories }));
  const before = treeOf(path);
  const state = join(archives.folder, 'state');
  const result = await pgark(config, ['verify', '--rate', '1GiB', '--resume', state]);
  expect(result, result.stderr).toMatchObject({ code: 0 });
  expect(result.stderr).toContain('the result is not on record in repository plain');
  expect(result.stdout).toMatch(/level sample, drawn with seed \d+/);
  expect(treeOf(path)).toEqual(before);
  expect(existsSync(state)).toBe(false);
});

test('without the key nothing is said to be good, and nothing to be damaged', async () => {
  const config = archives.config('no-key', [{ name: 'zstd-age', path: copyOf('zstd-age', 'closed') }]);
  const content = JSON.parse(readFileSync(config, 'utf8')) as { readonly restore: object };
  writeFileSync(config, JSON.stringify({ ...content, restore: {} }));
  const { code, stdout, stderr } = await pgark(config, ['verify', '--full']);
  expect({ code, stderr }).toMatchObject({ code: 2 });
  expect(stdout).not.toMatch(/damaged|missing|good/i);
  expect(stdout).toMatch(new RegExp(`^${archives.backups[0]} +unknown`, 'm'));
});
