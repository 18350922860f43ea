import { readFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { askOutlets, type Answers, type AskOptions } from '../../src/receive/ask-outlets.ts';
import { GapRecords } from '../../src/receive/gap-records.ts';
import type { Outlet } from '../../src/receive/outlet.ts';
import type { Fact } from '../../src/repository/facts.ts';
import { Faulty, Scene, SYSTEM, until } from './shipping-scene.ts';

let scene: Scene;
let end: AbortController;
beforeEach(() => {
  scene = new Scene();
  end = new AbortController();
});
afterEach(() => {
  end.abort();
  scene.destroy();
});

const ask = (outlets: readonly Outlet[], options: Partial<AskOptions> = {}): Promise<Answers<string>> =>
  askOutlets(outlets, async (repository, signal) => (await repository.open({ signal })).id, {
    subject: 'the question',
    signal: end.signal,
    ...options,
  });

describe('askOutlets', () => {
  test('all that answer are heard', async () => {
    const outlets = scene.outlets(new Faulty('one').repository, new Faulty('two').repository);
    const { answers, silent } = await ask(outlets);
    expect([...answers.keys()]).toEqual(outlets);
    expect(silent.size).toBe(0);
  });

  test('one that fails is left out at once, and told', async () => {
    const [up, other] = [new Faulty('up'), new Faulty('other')];
    other.down = 'STORAGE_UNAVAILABLE';
    const outlets = scene.outlets(up.repository, other.repository);
    // A grace without end: it is not waited for.
    const { answers, silent } = await ask(outlets, { grace: 1_000_000 });
    expect([...answers.keys()]).toEqual([outlets[0]]);
    expect(silent.get(outlets[1])?.code).toBe('STORAGE_UNAVAILABLE');
    expect(scene.named('wal.ship_failed')).toHaveLength(1);
  });

  test('one that says nothing is left out after a time', async () => {
    const [up, other] = [new Faulty('up'), new Faulty('other')];
    other.hung = true;
    const outlets = scene.outlets(up.repository, other.repository);
    const { answers, silent } = await ask(outlets, { grace: 50 });
    expect([...answers.keys()]).toEqual([outlets[0]]);
    expect([...silent]).toEqual([[outlets[1], undefined]]);
    expect(other.calls).toBeGreaterThan(0);
    other.hung = false;
  });

  test('while none answers all are tried; the first answer gives the others one more try, so that both are heard when both are back', async () => {
    const [up, other] = [new Faulty('up'), new Faulty('other')];
    up.down = other.down = 'STORAGE_UNAVAILABLE';
    const outlets = scene.outlets(up.repository, other.repository);
    const asked = ask(outlets, { grace: 1_000_000 });
    await until(
      () => up.calls > 4 && other.calls > 4,
      () => `${up.calls} ${other.calls}`,
    );
    up.down = other.down = undefined;
    expect((await asked).answers.size).toBe(2);
  });

  test('the end of the run ends it, also while none answers', async () => {
    const up = new Faulty('up');
    up.down = 'STORAGE_UNAVAILABLE';
    const asked = ask(scene.outlets(up.repository));
    await until(
      () => up.calls > 2,
      () => String(up.calls),
    );
    end.abort();
    await expect(asked).rejects.toMatchObject({ code: 'ABORTED' });
  });
});

describe('GapRecords', () => {
  const fact: Fact = {
    kind: 'gap',
    time: 1_700_000_000_000,
    data: { timeline: 1, from: '0/100000', to: '0/300000', reason: 'removed', to_timeline: 1 },
  };
  const records = (outlets: readonly Outlet[], grace = 50): GapRecords =>
    new GapRecords({ folder: scene.spool.folder, outlets, logger: scene.logger, signal: end.signal, grace });
  const recorded = (faulty: Faulty): Promise<readonly Fact[]> => faulty.repository.facts(SYSTEM).list('wal');
  const owed = (): string => join(scene.spool.folder, 'gaps.json');
  const paid = (): Promise<void> =>
    until(
      () => !existsSync(owed()),
      () => readFileSync(owed(), 'utf8'),
    );

  test('a gap is in every repository, once, and nothing is owed', async () => {
    const [up, other] = [new Faulty('up'), new Faulty('other')];
    const made = records(scene.outlets(up.repository, other.repository));
    made.resume();
    await made.record(SYSTEM, fact);
    expect([await recorded(up), await recorded(other)]).toEqual([[fact], [fact]]);
    expect(existsSync(owed())).toBe(false);
  });

  test.each<[string, (other: Faulty) => void, (other: Faulty) => void]>([
    ['fails', (other) => (other.down = 'STORAGE_UNAVAILABLE'), (other) => (other.down = undefined)],
    ['says nothing', (other) => (other.hung = true), (other) => (other.hung = false)],
  ])('a repository that %s owes its record, and gets it when it is back', async (_, fail, mend) => {
    const [up, other] = [new Faulty('up'), new Faulty('other')];
    fail(other);
    const outlets = scene.outlets(up.repository, other.repository);
    const made = records(outlets);
    await made.record(SYSTEM, fact);
    expect(await recorded(up)).toEqual([fact]);
    expect(JSON.parse(readFileSync(owed(), 'utf8'))).toEqual([{ repository: 'other', systemId: SYSTEM, fact }]);
    expect(outlets.map((outlet) => made.owedBy(outlet, SYSTEM))).toEqual([[], [fact]]);
    expect(made.owedBy(outlets[1], '5')).toEqual([]);
    mend(other);
    await paid();
    expect(made.owedBy(outlets[1], SYSTEM)).toEqual([]);
    expect(await recorded(other)).toEqual([fact]);
    expect(existsSync(owed())).toBe(false);
  });

  test('what is owed is known to the next run', async () => {
    const [up, other] = [new Faulty('up'), new Faulty('other')];
    other.down = 'STORAGE_UNAVAILABLE';
    await records(scene.outlets(up.repository, other.repository)).record(SYSTEM, fact);
    end.abort();
    end = new AbortController();
    other.down = undefined;
    const outlets = scene.outlets(up.repository, other.repository);
    const again = records(outlets);
    again.resume();
    expect(again.owedBy(outlets[1], SYSTEM)).toEqual([fact]);
    await paid();
    expect([await recorded(up), await recorded(other)]).toEqual([[fact], [fact]]);
    expect(existsSync(owed())).toBe(false);
  });

  test('what a repository that is no longer in the config owes stays known', async () => {
    const [up, other] = [new Faulty('up'), new Faulty('other')];
    other.down = 'STORAGE_UNAVAILABLE';
    await records(scene.outlets(up.repository, other.repository)).record(SYSTEM, fact);
    end.abort();
    end = new AbortController();
    records(scene.outlets(up.repository)).resume();
    expect(readFileSync(owed(), 'utf8')).toContain('"other"');
  });

  test('a record whose answer was lost is there once', async () => {
    const up = new Faulty('up');
    await up.repository.open({ create: true });
    await up.repository.facts(SYSTEM).add('wal', fact);
    await records(scene.outlets(up.repository)).record(SYSTEM, fact);
    expect(await recorded(up)).toEqual([fact]);
  });

  test('another record of the same moment is no success', async () => {
    const up = new Faulty('up');
    await up.repository.open({ create: true });
    await up.repository.facts(SYSTEM).add('wal', { ...fact, data: { ...fact.data, from: '0/200000' } });
    const outlets = scene.outlets(up.repository);
    for (const outlet of outlets) outlet.finish();
    await expect(records(outlets).record(SYSTEM, fact)).rejects.toMatchObject({ code: 'STORAGE_EXISTS' });
  });
});
