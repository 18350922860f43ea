import { expect, test } from 'vitest';
import { readableFacts } from '../../src/restore/verify-findings.ts';
import { bodyOf } from '../../src/repository/objects.ts';
import { factsPrefix } from '../../src/repository/layout.ts';
import { memoryRepository } from '../repository/repository.ts';
import { SYSTEM } from '../repository/sample-record.ts';

test('a fact that cannot be read costs no restore, and takes none of the others with it', async () => {
  const repository = await memoryRepository();
  const facts = repository.facts(SYSTEM);
  await facts.add('wal', { kind: 'verify', time: 1000, data: { level: 'full' } });
  await facts.add('wal', { kind: 'verify', time: 3000, data: { level: 'sample' } });
  const key = `${factsPrefix(repository.cluster, SYSTEM, 'wal')}19700101T000002000Z-verify.json`;
  await repository.storage.put(key, bodyOf(Buffer.from('{"kind": "ver')), { ifAbsent: true });
  await expect(facts.list('wal')).rejects.toMatchObject({ code: 'REPOSITORY_FORMAT' });
  expect((await readableFacts(repository, SYSTEM, 'wal', {})).map(({ time }) => time)).toEqual([1000, 3000]);
});
