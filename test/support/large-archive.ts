/** An archive as large as one of years, made of empty objects: what a listing shows of it is all that counts. */
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatLsn } from '../../core/src/postgres/lsn.ts';
import { segmentName } from '../../core/src/postgres/wal-file.ts';
import type { BackupRecord } from '../../core/src/repository/backup-record.ts';

export interface LargeArchiveOptions {
  readonly segments: number;
  readonly backups: number;
  /** Numbers of segments that are missing. */
  readonly missing: ReadonlySet<number>;
}

export const LARGE_SYSTEM = '7123456789012345678';
const SEGMENT = 16 * 1024 * 1024;
const DIGEST = '0123456789abcdef0123456789abcdef';
const HASH = DIGEST + DIGEST;

/** Makes the archive of the cluster `main` in a folder. */
export function makeLargeArchive(folder: string, { segments, backups, missing }: LargeArchiveOptions): void {
  const main = join(folder, 'main');
  mkdirSync(main, { recursive: true });
  const marker = {
    format: 1,
    cluster: 'main',
    id: '00000000-0000-4000-8000-000000000001',
    created: '2026-01-01T00:00:00Z',
  };
  writeFileSync(join(main, 'pgark.json'), JSON.stringify(marker));
  let made = '';
  for (let number = 1; number <= segments; number++) {
    if (missing.has(number)) continue;
    const name = segmentName(1, BigInt(number), SEGMENT);
    const log = join(main, LARGE_SYSTEM, 'wal', name.slice(0, 8), name.slice(8, 16));
    if (log !== made) mkdirSync(log, { recursive: true });
    made = log;
    closeSync(openSync(join(log, `${name}-${DIGEST}.zst`), 'w'));
  }
  for (let number = 0; number < backups; number++)
    makeBackup(join(main, LARGE_SYSTEM, 'backups'), 1 + Math.floor((number * segments) / backups), number);
}

function makeBackup(folder: string, segment: number, number: number): void {
  const time = Date.UTC(2020, 0, 1) + number * 86_400_000;
  const stamp = new Date(time).toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const id = `${stamp}-${number.toString(16).padStart(4, '0')}`;
  const start = BigInt(segment) * BigInt(SEGMENT);
  const object = (name: string): BackupRecord['manifest'] => ({
    name,
    plainSize: 0,
    storedSize: 0,
    plainSha256: HASH,
    storedSha256: HASH,
  });
  const parts = Array.from({ length: 20 }, (_, at) => ({
    ...object(`base/${String(at).padStart(4, '0')}.tar.zst`),
    archive: 'base',
    number: at,
    entries: 1,
  }));
  const record: BackupRecord = {
    format: 1,
    id,
    kind: 'full',
    cluster: 'main',
    systemId: LARGE_SYSTEM,
    serverVersion: 180000,
    segmentSize: SEGMENT,
    timeline: 1,
    startLsn: formatLsn(start + 40n),
    stopTimeline: 1,
    stopLsn: formatLsn(start + 4096n),
    startTime: new Date(time).toISOString(),
    stopTime: new Date(time + 60_000).toISOString(),
    nextXid: '1000',
    dataChecksums: true,
    host: 'db:5432',
    fromStandby: false,
    label: 'nightly',
    tool: '0',
    tablespaces: [],
    codecs: [],
    files: 1,
    dataSize: 0,
    parts,
    manifest: object('backup_manifest.zst'),
    fileList: object('files.json.zst'),
  };
  const own = join(folder, id);
  mkdirSync(join(own, 'base'), { recursive: true });
  for (const { name } of [...parts, record.manifest, record.fileList]) closeSync(openSync(join(own, name), 'w'));
  writeFileSync(join(own, 'backup.json'), JSON.stringify(record));
}
