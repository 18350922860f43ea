/** What `pgark check` says of codecs and keys. */
import { describe, expect, test } from 'vitest';
import { checkCodecs, type CodecCheckOptions } from '../../src/check/codec-check.ts';
import type { Finding } from '../../src/check/finding.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Codec } from '../../src/contracts/codec.ts';
import { LateCodec } from '../../src/repository/late-parts.ts';
import { putBytes } from '../../src/repository/objects.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { makeBackup, pushWal, SYSTEM } from '../copy/archives.ts';
import { keyed, keyedRepository } from '../keys/keyed.ts';
import { memoryStorage } from '../repository/repository.ts';

const BACKUP = '20261101T000000Z-0001';

async function check(repository: Repository, options: Partial<CodecCheckOptions> = {}): Promise<Map<string, Finding>> {
  const findings = new Map<string, Finding>();
  const all = { systemId: SYSTEM, readOnly: false, identities: true, ...options };
  for await (const finding of checkCodecs(repository, all)) findings.set(finding.check, finding);
  return findings;
}

/** A repository that was written for some keys, opened with another codec. */
async function written(by: readonly Codec[], now: readonly Codec[], reads: readonly Codec[] = []): Promise<Repository> {
  const storage = await memoryStorage();
  const writer = await keyedRepository({ storage, writes: by });
  await makeBackup(writer, BACKUP, { from: 1, to: 1 });
  await pushWal(writer, 1, [1, 2]);
  return keyedRepository({ storage, writes: now, reads });
}

describe('checkCodecs', () => {
  test('all in order: the codecs work and the keys open; an archive that is empty is in order too', async () => {
    const both = keyed({ for: ['k1'], held: ['k1'] });
    const findings = await check(await written([both], [both]));
    expect([...findings.keys()]).toEqual(['codecs', 'keys']);
    expect(findings.get('codecs')).toMatchObject({ state: 'ok', message: '5 bytes became 13 as .key for k1' });
    expect(findings.get('keys')?.state).toBe('ok');
    expect(findings.get('keys')?.message).toMatch(/^the keys at hand open backup \S+ and WAL \S+0002$/);
    const empty = await check(await keyedRepository({ writes: [] }));
    expect([...empty.values()].map(({ check: name, state }) => [name, state])).toEqual([['codecs', 'ok']]);
    const plain = await check(await written([], []));
    expect(plain.get('keys')?.message).toContain('need no key');
  });

  test('the newest objects cannot be opened: failed, with what is missing; without identities it is said what that means', async () => {
    const old = keyed({ for: ['k1'] });
    const wrong = await check(await written([old], [keyed({ for: ['k2'], held: ['k2'] })]));
    expect(wrong.get('keys')).toMatchObject({ state: 'failed' });
    expect(wrong.get('keys')?.message).toMatch(/^backup \S+: none of its keys is at hand; at hand: k2; WAL/);
    expect(wrong.get('keys')?.hint).toContain('pgark keys');

    const recipients = keyed({ for: ['k1'], hidden: true });
    const host = await check(await written([recipients], [recipients]), { identities: false });
    expect(host.get('keys')).toMatchObject({ state: 'skipped' });
    expect(host.get('keys')?.message).toContain('restore.identities is empty');
    expect([...host.values()].map(({ state }) => state)).not.toContain('failed');
    const changed = keyed({ for: ['k2'], held: ['k2'], hidden: true });
    expect((await check(await written([recipients], [changed]), { identities: false })).get('keys')).toMatchObject({
      state: 'failed',
    });
    const withOther = await check(await written([recipients], [recipients]), { identities: true });
    expect(withOther.get('keys')).toMatchObject({ state: 'failed' });
  });

  test('the newest WAL alone can be what does not open', async () => {
    const storage = await memoryStorage();
    const one = { for: ['k1'], held: ['k1'] };
    const writer = await keyedRepository({ storage, writes: [keyed(one)] });
    await makeBackup(writer, BACKUP, { from: 1, to: 1 });
    await pushWal(writer, 1, [1]);
    await pushWal(await keyedRepository({ storage, writes: [keyed({ for: ['k2'] })] }), 1, [2]);
    const findings = await check(await keyedRepository({ storage, writes: [keyed(one)] }));
    expect(findings.get('keys')).toMatchObject({ state: 'failed' });
    expect(findings.get('keys')?.message).toMatch(/^WAL \S+0002: none of its keys is at hand; at hand: k1$/);
  });

  test('a backup whose record cannot be read is a failure where it is newer; one that runs is none', async () => {
    const storage = await memoryStorage();
    const both = keyed({ for: ['k1'], held: ['k1'] });
    const repository = await keyedRepository({ storage, writes: [both] });
    await makeBackup(repository, '20261103T000000Z-0003', { from: 1, to: 1 });
    const record = (id: string): string => `main/${SYSTEM}/backups/${id}/backup.json`;
    const older = record(BACKUP);
    await putBytes(storage, older, Buffer.from('{}'));
    await putBytes(storage, `main/${SYSTEM}/backups/20261105T000000Z-0005/base/0000.tar.key`, Buffer.from('KEYS k1\n'));
    expect([...(await check(repository)).keys()]).toEqual(['codecs', 'keys']);
    const newer = '20261104T000000Z-0004';
    await putBytes(storage, record(newer), Buffer.from('{broken'));
    const findings = await check(repository);
    expect(findings.get('backup record')).toMatchObject({ subject: 'repository primary', state: 'failed' });
    expect(findings.get('backup record')?.message).toBe(
      `backup ${newer}: REPOSITORY_FORMAT: ${record(newer)} is not JSON`,
    );
    expect(findings.get('keys')).toMatchObject({ state: 'ok' });
    // Nor is it hidden where it is the only one.
    await storage.remove([record('20261103T000000Z-0003'), older]);
    expect([...(await check(repository, { readOnly: true })).keys()]).toEqual(['backup record']);
  });

  test('an object without keys that the newest backup names and the storage does not have is a failure', async () => {
    const storage = await memoryStorage();
    const repository = await keyedRepository({ storage, writes: ['zst'] });
    const { manifest } = await makeBackup(repository, BACKUP, { from: 1, to: 1 });
    expect((await check(repository)).get('keys')).toMatchObject({ state: 'ok' });
    const key = repository.backups(SYSTEM).objectKey(BACKUP, manifest.name);
    await storage.remove([key]);
    const finding = (await check(repository)).get('keys');
    expect(finding).toMatchObject({ state: 'failed' });
    expect(finding?.message).toContain(`backup ${BACKUP}: STORAGE_NOT_FOUND: there is no object ${key}`);
  });

  test('a rotation in progress is told, as information; equal keys and headers that do not tell are not', async () => {
    const held = ['k1', 'k2'];
    const old = keyed({ for: ['k1'], held });
    const findings = await check(await written([old], [keyed({ for: ['k2'], held })]));
    expect(findings.get('keys')?.state).toBe('ok');
    expect(findings.get('new objects')).toMatchObject({ state: 'ok' });
    expect(findings.get('new objects')?.message).toMatch(
      /^are for k2, backup \S+ was for k1 and WAL \S+ was for k1: keys are being changed$/,
    );
    const hidden = keyed({ for: ['k1', 'k2'], held: ['k1'], hidden: true });
    expect([...(await check(await written([hidden], [hidden]))).keys()]).toEqual(['codecs', 'keys']);
    const fewer = await check(await written([hidden], [keyed({ for: ['k1'], held: ['k1'], hidden: true })]));
    expect(fewer.get('new objects')?.message).toContain('was for k1, 1 that its header does not name');
  });

  test('encryption that begins is told, encryption that ends is a warning', async () => {
    const one = keyed({ for: ['k1'], held: ['k1'] });
    const begun = await check(await written([], [one]));
    expect(begun.get('new objects')).toMatchObject({ state: 'ok' });
    expect(begun.get('new objects')?.message).toContain('was written without encryption');
    const ended = await check(await written([one], [], [one]));
    expect(ended.get('new objects')).toMatchObject({ state: 'warning' });
    expect(ended.get('new objects')?.message).toMatch(/^new objects are written without encryption; backup/);
  });

  test('a codec that has nobody to write for is a failure; a repository that is only read needs none', async () => {
    const repository = await written([keyed({ for: ['k1'] })], [keyed({ held: ['k1'] })]);
    const findings = await check(repository);
    expect(findings.get('codecs')).toMatchObject({ state: 'failed' });
    expect(findings.get('codecs')?.message).toContain('no key to write for');
    expect(findings.get('keys')?.state).toBe('ok');
    expect([...(await check(repository, { readOnly: true })).keys()]).toEqual(['keys']);
  });

  test('H-62 a codec that cannot be had, and a suffix that none reads, are failures', async () => {
    const error = new ArchiveError('SECRET_UNAVAILABLE', 'the key file is not there');
    const late = new LateCodec({ id: 'age', suffix: 'age', error, make: () => Promise.reject(error) });
    const findings = await check(await written([keyed({ suffix: 'gone', for: ['k'] })], [late]));
    expect(findings.get('codecs')).toMatchObject({
      state: 'failed',
      message: 'SECRET_UNAVAILABLE: the key file is not there',
    });
    expect(findings.get('keys')).toMatchObject({ state: 'failed' });
    expect(findings.get('keys')?.message).toContain('CODEC_UNKNOWN: no installed codec reads ".gone"');
    expect(findings.get('keys')?.hint).toContain('Install the codec plugin');
  });
});
