/** Control files, labels, manifests and archives as real servers write them. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { formatBackupLabel, parseBackupLabel } from '../../core/src/postgres/backup-label.ts';
import { parseControlFile } from '../../core/src/postgres/control-file.ts';
import { bytesToText } from '../../core/src/postgres/lossless-text.ts';
import { formatLsn, parseLsn } from '../../core/src/postgres/lsn.ts';
import { readManifest } from '../../core/src/postgres/manifest.ts';
import { tarHeader, TarReader, type TarHeader } from '../../core/src/postgres/tar.ts';
import { giveToServer, MAJORS, PostgresServer } from '../support/postgres.ts';

const BIN_15 = '/usr/lib/postgresql/15/bin';
const servers: PostgresServer[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await server.destroy();
});

describe.each(MAJORS)('pg_control of PostgreSQL %i', (major) => {
  test.each([true, false])('says what the server says (data checksums: %s)', async (dataChecksums) => {
    const server = await PostgresServer.start({ major, dataChecksums, segmentMegabytes: dataChecksums ? 16 : 1 });
    servers.push(server);
    const path = join(server.data, 'global/pg_control');
    await server.query('CREATE TABLE work AS SELECT pg_current_xact_id()');
    await server.query('CHECKPOINT');
    const [system] = await server.query<Record<string, string>>(
      `SELECT system_identifier::text AS "systemId", pg_control_version::int AS "controlVersion",
              catalog_version_no::int AS "catalogVersion" FROM pg_control_system()`,
    );
    const [checkpoint] = await server.query<Record<string, string | number>>(
      `SELECT checkpoint_lsn::text AS lsn, redo_lsn::text AS redo, timeline_id, prev_timeline_id, next_xid,
              (extract(epoch FROM checkpoint_time) * 1000)::float8 AS time FROM pg_control_checkpoint()`,
    );
    const [init] = await server.query<Record<string, number>>(
      `SELECT database_block_size AS "blockSize", blocks_per_segment AS "relationSegmentBlocks",
              wal_block_size AS "walBlockSize", bytes_per_wal_segment AS "walSegmentSize",
              data_page_checksum_version AS "dataChecksumVersion" FROM pg_control_init()`,
    );
    const control = parseControlFile(readFileSync(path));
    expect(control).toMatchObject({ ...system, ...init, state: 'in production' });
    expect(formatLsn(control.checkpointLsn)).toBe(checkpoint?.['lsn']);
    expect(formatLsn(control.checkpoint.redoLsn)).toBe(checkpoint?.['redo']);
    expect(control.checkpoint.timeline).toBe(checkpoint?.['timeline_id']);
    expect(control.checkpoint.previousTimeline).toBe(checkpoint?.['prev_timeline_id']);
    const { nextXid, time } = control.checkpoint;
    expect(`${nextXid >> 32n}:${nextXid & 0xffffffffn}`).toBe(checkpoint?.['next_xid']);
    expect(time).toBe(checkpoint?.['time']);
    expect(control.dataChecksumVersion).toBe(dataChecksums ? 1 : 0);

    // Recovery positions of a standby.
    await server.stop();
    expect(parseControlFile(readFileSync(path)).state).toBe('shut down');
    writeFileSync(join(server.data, 'standby.signal'), '');
    giveToServer(join(server.data, 'standby.signal'));
    await server.start();
    const [recovery] = await server.query<Record<string, string | number>>(
      `SELECT min_recovery_end_lsn::text AS lsn, min_recovery_end_timeline AS timeline FROM pg_control_recovery()`,
    );
    const standby = parseControlFile(readFileSync(path));
    expect(standby.state).toBe('in archive recovery');
    expect(standby.minRecoveryLsn).toBe(parseLsn(String(recovery?.['lsn'])));
    expect(standby.minRecoveryTimeline).toBe(recovery?.['timeline']);
  });
});

test.skipIf(!existsSync(join(BIN_15, 'pg_controldata')))('pg_control reads as pg_controldata reads it', async () => {
  const server = await PostgresServer.start({ major: 15 });
  servers.push(server);
  await server.stop();
  const output = execFileSync(join(BIN_15, 'pg_controldata'), [server.data], {
    encoding: 'utf8',
    env: { LC_ALL: 'C', TZ: 'UTC' },
  });
  const shown = new Map(output.split('\n').map((line) => [line.split(':')[0] ?? '', line.replace(/^[^:]*:\s*/, '')]));
  const control = parseControlFile(readFileSync(join(server.data, 'global/pg_control')));
  expect(shown.get('Database system identifier')).toBe(control.systemId);
  expect(shown.get('Database cluster state')).toBe(control.state);
  expect(shown.get('Latest checkpoint location')).toBe(formatLsn(control.checkpointLsn));
  expect(shown.get("Latest checkpoint's REDO location")).toBe(formatLsn(control.checkpoint.redoLsn));
  expect(shown.get("Latest checkpoint's NextXID")).toBe(`0:${control.checkpoint.nextXid}`);
  expect(Date.parse(`${shown.get('Time of latest checkpoint')} UTC`)).toBe(control.checkpoint.time);
  expect(Date.parse(`${shown.get('pg_control last modified')} UTC`)).toBe(control.modified);
  expect(shown.get('Bytes per WAL segment')).toBe(String(control.walSegmentSize));
  expect(shown.get('Data page checksum version')).toBe(String(control.dataChecksumVersion));
});

interface Entry {
  readonly header: TarHeader;
  readonly raw: Buffer;
  readonly data: Buffer;
}

function readTar(path: string, chunk: number): Entry[] {
  const entries: Entry[] = [];
  let data: Buffer[] = [];
  let begun: { header: TarHeader; raw: Buffer } | undefined;
  const reader = new TarReader(
    {
      entry(header, raw) {
        begun = { header, raw: Buffer.from(raw) };
        data = [];
      },
      data: (bytes) => void data.push(Buffer.from(bytes)),
      entryEnd() {
        if (begun !== undefined) entries.push({ ...begun, data: Buffer.concat(data) });
      },
    },
    path,
  );
  const bytes = readFileSync(path);
  for (let at = 0; at < bytes.byteLength; at += chunk) reader.push(bytes.subarray(at, at + chunk));
  reader.end();
  return entries;
}

test.skipIf(!existsSync(join(BIN_15, 'pg_basebackup')))(
  'archives and manifest of a base backup agree, names that are no text included',
  async () => {
    const server = await PostgresServer.start({ major: 15 });
    servers.push(server);
    const space = join(server.folder, 'space');
    mkdirSync(space);
    giveToServer(space);
    await server.query(`CREATE TABLESPACE space LOCATION '${space}'`);
    await server.query('CREATE TABLE a TABLESPACE space AS SELECT generate_series(1, 10000) AS n');
    const odd = Buffer.from([0x6f, 0x64, 0x64, 0xff, 0x80, 0x2e, 0xc3, 0xa4]);
    const oddPath = Buffer.concat([Buffer.from(`${server.data}/`), odd]);
    writeFileSync(oddPath, 'odd');
    const quotedPath = join(server.data, 'ümlaut "x" \\.txt');
    writeFileSync(quotedPath, 'text');
    const owner = statSync(server.data);
    for (const path of [oddPath, quotedPath]) chownSync(path, owner.uid, owner.gid);

    const out = join(server.folder, 'out');
    const args = ['-h', '127.0.0.1', '-p', String(server.port), '-U', 'postgres', '-D', out, '-Ft', '-X', 'none'];
    execFileSync(
      join(BIN_15, 'pg_basebackup'),
      [...args, '-c', 'fast', '-l', 'label: of "x" ä', '--manifest-checksums=SHA256'],
      { stdio: 'pipe' },
    );
    const archives = readdirSync(out).filter((name) => name.endsWith('.tar'));
    expect(archives.length).toBe(2);

    const manifest = await readManifest([readFileSync(join(out, 'backup_manifest'))]);
    expect(manifest.version).toBe(1);
    expect(manifest.files.has(bytesToText(odd))).toBe(true);
    expect(manifest.files.has('ümlaut "x" \\.txt')).toBe(true);

    const files = new Map<string, Entry>();
    for (const archive of archives) {
      const entries = readTar(join(out, archive), 65_536);
      const again = readTar(join(out, archive), 10_001);
      expect(again.map(({ header }) => header)).toEqual(entries.map(({ header }) => header));
      expect(again.every(({ data }, at) => entries[at]?.data.equals(data))).toBe(true);
      for (const entry of entries) {
        // The writer makes what the server makes; but for the two names that the server begins with "./".
        const dotted = entry.raw.toString('latin1', 0, 2) === './';
        if (!dotted) expect(Buffer.from(tarHeader(entry.header))).toEqual(entry.raw);
        const oid = /^(\d+)\.tar$/.exec(archive)?.[1];
        const path = oid === undefined ? entry.header.path : `pg_tblspc/${oid}/${entry.header.path}`;
        if (entry.header.type === 'file') files.set(path, entry);
      }
      expect(entries.filter(({ header }) => header.type === 'directory').length).toBeGreaterThan(0);
      if (archive === 'base.tar') expect(entries.at(-1)?.header.path).toBe('global/pg_control');
    }
    expect([...files.keys()].sort()).toEqual([...manifest.files.keys()].sort());
    for (const file of manifest.files.values()) {
      const entry = files.get(file.path);
      const digest = createHash('sha256')
        .update(entry?.data ?? '')
        .digest('hex');
      expect([file.path, entry?.data.byteLength, digest]).toEqual([file.path, file.size, file.checksum]);
      expect(file.algorithm).toBe('SHA256');
    }

    const content = files.get('backup_label')?.data ?? Buffer.of();
    const label = parseBackupLabel(content);
    expect(label).toMatchObject({ label: 'label: of "x" ä', timeline: 1, from: 'primary' });
    expect(Buffer.from(formatBackupLabel(label))).toEqual(content);
    expect(manifest.walRanges).toMatchObject([{ timeline: 1, start: label.startLsn }]);
    const control = parseControlFile(
      files.get('global/pg_control')?.data ?? Buffer.of(),
      'base.tar: global/pg_control',
    );
    expect(control.checkpointLsn).toBe(label.checkpointLsn);
  },
);
