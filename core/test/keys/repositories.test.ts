/** Keys of several repositories in one config. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { openParts, type ArchiveParts } from '../../src/archive-parts.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Codec } from '../../src/contracts/codec.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import { API_VERSION, type Plugin } from '../../src/contracts/plugin.ts';
import { surveyKeys } from '../../src/keys/survey.ts';
import { AGAIN, isNotMade, LateCodec } from '../../src/repository/late-parts.ts';
import { bodyOf } from '../../src/repository/objects.ts';
import { recordingLogger } from '../plugins/support.ts';
import { keyed } from './keyed.ts';

const SYSTEM = '7000000000000000001';
const HISTORY = Buffer.from('1\t0/3000000\tno recovery target specified\n');

/** Opens and writes for what the options say. */
const plugin: Plugin<'codec', { readonly keys?: readonly string[] }> = {
  name: 'keyed',
  kind: 'codec',
  apiVersion: API_VERSION,
  suffix: 'key',
  options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as object }) } },
  create: ({ keys = [] }) => keyed({ for: keys.slice(0, 1), held: keys }),
};

/** An archive with a repository of each name, and its keys, the first of which writes. */
async function open(keys: Readonly<Record<string, string>>): Promise<ArchiveParts> {
  const directory = mkdtempSync(join(tmpdir(), 'pgark-keys-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const repositories = Object.entries(keys).map(([name, list]) => {
    mkdirSync(join(directory, name));
    return `{ name: ${name}, storage: { use: fs, path: ./${name} }, codecs: [ { use: keyed, keys: [ ${list} ] } ] }`;
  });
  writeFileSync(join(directory, 'pgark.yaml'), `cluster: c\nrepositories: [ ${repositories.join(', ')} ]\n`);
  const loaded = await loadConfig({ directory, env: { HOME: directory } });
  const archive = await openParts(loaded, { logger: recordingLogger(), plugins: [plugin] });
  onTestFinished(() => archive.close());
  return archive;
}

test('two repositories with different keys for one codec: each is read with its own', async () => {
  const archive = await open({ near: 'k1', far: 'k2' });
  for (const repository of archive.repositories) {
    await repository.open({ create: true });
    await repository.wal(SYSTEM).push('00000002.history', { bytes: HISTORY });
  }
  for (const repository of archive.repositories) {
    const found = await repository.wal(SYSTEM).history(2);
    expect(Buffer.from(found?.content ?? []).toString()).toBe(HISTORY.toString());
    const { rows } = await surveyKeys(repository);
    expect(rows.map(({ layers, readable }) => [layers.flatMap(({ keyIds }) => keyIds), readable])).toEqual([
      [[repository.name === 'near' ? 'k1' : 'k2'], true],
    ]);
  }
});

test('a codec that is made late says for which keys a stream was written, as soon as it can be had', async () => {
  const error = new ArchiveError('SECRET_UNAVAILABLE', 'not yet');
  const stream = (): AsyncIterable<Uint8Array> => bodyOf(Buffer.from('KEYS k1 k2\nbytes'));
  vi.useFakeTimers({ toFake: ['performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const late = (made: Codec): LateCodec =>
    new LateCodec({ id: made.id, suffix: made.suffix, error, make: async () => made });
  const codec = late(keyed({ held: ['k2'] }));
  const whole = keyed();
  const withoutKeys = late({
    id: 'plain',
    suffix: 'plain',
    encode: (...call) => whole.encode(...call),
    decode: (...call) => whole.decode(...call),
  });
  await expect(codec.inspect(stream(), {})).rejects.toMatchObject({ code: 'SECRET_UNAVAILABLE' });
  await expect(withoutKeys.inspect(stream(), {})).rejects.toMatchObject({ code: 'SECRET_UNAVAILABLE' });
  expect(isNotMade(codec)).toBe(true);
  vi.advanceTimersByTime(AGAIN);
  expect(await codec.inspect(stream(), {})).toEqual({ keyIds: ['k1', 'k2'], unknown: 0, readable: true });
  expect(isNotMade(codec)).toBe(false);
  expect(await withoutKeys.inspect(stream(), {})).toEqual({ keyIds: [], unknown: 0, readable: true });
});
