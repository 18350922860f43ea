/** What was altered since it was written decides nothing: neither facts nor records. And clocks that differ take no pin away. */
import { expect, test } from 'vitest';
import type { Storage } from '../../src/contracts/storage.ts';
import { parseTimesKey } from '../../src/repository/layout.ts';
import { putBytes, readSmall } from '../../src/repository/objects.ts';
import { sealed } from '../../src/repository/seal.ts';
import { planExpire } from '../../src/retention/expire.ts';
import { changePin } from '../../src/retention/pin.ts';
import { TimesUse } from '../../src/retention/times-use.ts';
import { parseWalFileName, type WalFile } from '../../src/postgres/wal-file.ts';
import { randomFrom } from '../../../test/support/random.ts';
import { expire, fourBackups, POLICY } from './four-backups.ts';
import { Clock, DAY, keysIn, segmentsIn, SYSTEM, walName } from './small-archive.ts';

/** Changes bytes of an object, as a bad disk does. */
async function alter(storage: Storage, key: string, change: (text: string) => string): Promise<void> {
  const before = Buffer.from(await readSmall(storage, key)).toString('utf8');
  const after = change(before);
  expect(after).not.toBe(before);
  expect(after).toHaveLength(before.length);
  await storage.remove([key]);
  await putBytes(storage, key, Buffer.from(after));
}

test('H-74 a pin whose end was altered is unreadable, and not ended', async () => {
  const clock = new Clock();
  const { repository, storage, ids } = await fourBackups(clock);
  const [first = ''] = ids;
  const until = clock.time + 90 * DAY;
  await changePin(
    repository,
    { systemId: SYSTEM, id: first },
    { kind: 'pin', reason: 'audit', until },
    { time: clock.time },
  );
  const key = (await keysIn(storage)).find((one) => one.endsWith('-pin.json')) ?? '';
  // One bit: 2027 becomes 2025, which has passed.
  await alter(storage, key, (text) => text.replace('"until": "2027', '"until": "2025'));
  const { backups } = await planExpire(repository, { policy: POLICY, now: clock.now });
  expect(backups[0]).toMatchObject({ id: first, action: 'keep' });
  expect((await expire(repository, clock)).removed).not.toContain(first);
});

test('H-74 a record whose start was altered holds all WAL, and not only that from there on', async () => {
  const clock = new Clock();
  const { repository, storage, ids } = await fourBackups(clock);
  // As this version writes them.
  for (const key of (await keysIn(storage)).filter((one) => one.endsWith('/backup.json'))) {
    const record = JSON.parse(Buffer.from(await readSmall(storage, key)).toString('utf8')) as object;
    await storage.remove([key]);
    await putBytes(storage, key, sealed(record));
  }
  const third = `main/${SYSTEM}/backups/${ids[2]}/backup.json`;
  // Two are kept; the older of them begins at segment 21, or so it would seem at 29.
  await alter(storage, third, (text) => text.replace('"startLsn": "0/1500028"', '"startLsn": "0/1D00028"'));
  const result = await expire(repository, clock);
  expect(result.removed).toEqual([]);
  expect(await segmentsIn(repository)).toContain(21);
  const decision = result.plan.backups.find(({ id }) => id === ids[2]);
  expect(decision).toMatchObject({ state: 'unreadable', action: 'keep' });
});

test('the newest word on a pin is the one that was said last, whatever the clocks say', async () => {
  const clock = new Clock();
  const { repository, ids } = await fourBackups(clock);
  const [first = ''] = ids;
  const backup = { systemId: SYSTEM, id: first };
  // A host whose clock is an hour ahead takes a pin away, then one whose clock is right pins.
  await changePin(repository, backup, { kind: 'pin', reason: 'once' }, { time: clock.time });
  await changePin(repository, backup, { kind: 'unpin' }, { time: clock.time + 3_600_000 });
  await changePin(repository, backup, { kind: 'pin', reason: 'again' }, { time: clock.time + 60_000 });
  const { backups } = await planExpire(repository, { policy: POLICY, now: clock.now });
  expect(backups[0]).toMatchObject({ action: 'keep', reasons: [{ rule: 'pin', text: 'it is pinned: again' }] });
});

test('commit times are in use as long as any of their segments is there', () => {
  const seed = Date.now() % 1_000_000;
  const random = randomFrom(seed);
  for (let round = 0; round < 200; round++) {
    const number = (): number => Math.floor(random() * 40);
    const objects = Array.from({ length: 12 }, () => {
      const [one, other] = [number(), number()];
      const timeline = 1 + Math.floor(random() * 2);
      const [first, last] = [walName(timeline, Math.min(one, other)), walName(timeline, Math.max(one, other))];
      const name = `${first.slice(0, 8)}/${first}-${last}-${'0'.repeat(32)}.json`;
      return { key: name, size: 1, modified: 0, parsed: parseTimesKey(name) };
    });
    const names = [1, 2].flatMap((timeline) => Array.from({ length: 6 }, () => walName(timeline, number()))).sort();
    const use = new TimesUse(objects);
    for (const name of names) use.see(parseWalFileName(name) as WalFile);
    const unused = objects.filter(
      ({ parsed }) => !names.some((name) => parsed !== undefined && parsed.first <= name && name <= parsed.last),
    );
    expect(
      use
        .unused()
        .map(({ key }) => key)
        .toSorted(),
      `seed ${seed}`,
    ).toEqual(unused.map(({ key }) => key).toSorted());
  }
});
