/**
 * Exit codes of `wal-fetch` in real recoveries in which everything goes wrong: a recovery stops and is not promoted, a standby stays, and
 * both have all data when the fault is healed. Chosen by a seed: the version on which every fault is driven, the fault of each other
 * version, and whether an agent takes part; `PGARK_TEST_SEED` replays. `PGARK_TEST_FULL=1` drives all of them everywhere.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Clone } from '../support/clone.ts';
import { WAYS, type Way } from '../support/faulty-archive.ts';
import { later } from '../support/later.ts';
import { MAJORS, type Major } from '../support/postgres.ts';
import { randomFrom } from '../support/random.ts';
import { RECOVERY_FAULTS, type RecoveryFault } from '../support/recovery-faults.ts';
import { NO_DISK, RecoveryScene } from '../support/recovery-scene.ts';
import { versityMissing } from '../support/s3-server.ts';
import { SCALE } from '../support/scale.ts';
import { until } from '../support/until.ts';

const SEED = Number(process.env['PGARK_TEST_SEED'] ?? Date.now() % 1_000_000);
const FULL = SCALE === 'full';
const HISTORY = '00000002.history';
const random = randomFrom(SEED);
const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)] as Item;

/** The version on which every fault is driven. */
const MAIN = pick(MAJORS);
/** Through the agent it takes a third of the time. */
const MOSTLY: readonly Way[] = ['the command', 'the agent', 'the script', 'the script'];
const ALWAYS = RECOVERY_FAULTS.filter(({ extra }) => extra !== true);

/** One-shot recoveries, and through what a standby goes. */
function plan(major: Major): { readonly cases: readonly Case[]; readonly ways: readonly Way[] } {
  const faults = FULL ? RECOVERY_FAULTS : major === MAIN ? ALWAYS : [pick(ALWAYS)];
  const cases = faults.flatMap((fault) => (FULL ? WAYS : [pick(MOSTLY)]).map((way) => ({ ...fault, way })));
  return { cases, ways: FULL ? WAYS : major === MAIN ? [pick(WAYS)] : [] };
}

interface Case extends RecoveryFault {
  readonly way: Way;
}

/** Heals when it is called, else at the end of the test. */
function healedOnce(heal: () => void): () => void {
  let healed = false;
  const once = (): void => {
    if (!healed) heal();
    healed = true;
  };
  return later(once, (one) => one());
}

describe.each(MAJORS.map((major) => ({ major, ...plan(major) })))(
  `PostgreSQL $major (seed ${SEED})`,
  ({ major, cases, ways }) => {
    let scene: RecoveryScene;
    beforeAll(async () => {
      scene = await RecoveryScene.open(major, { long: ways.length > 0 });
    });
    afterAll(() => scene.destroy());

    async function rows(of: Clone): Promise<string> {
      return of.server.value(`SELECT coalesce(string_agg(n::text, ' ' ORDER BY n), '') FROM numbers`);
    }

    /** Waits for the end of the recovery, without connections that would slow it down. */
    async function promoted(of: Clone): Promise<void> {
      await until(
        'the end of the recovery',
        () => of.server.log.includes('archive recovery complete') || !of.server.running,
        () => of.report(),
      );
      await of.server.recovered();
    }

    /** How often the agent was asked for a file. */
    async function asked(file: string): Promise<number> {
      return (await scene.archive.agent()).asked('wal-fetch').filter((name) => name === file).length;
    }

    test.for(cases)(
      'H-20 $name, through $way: a recovery stops with 255, is not promoted, and has all rows when it is healed',
      async (fault, context) => {
        context.skip(fault.missing !== undefined, fault.missing);
        const { way } = fault;
        const [first = '', second = ''] = scene.segments;
        later(scene.archive.set({ storage: fault.s3 === true ? 's3' : 'fs' }), (undo) => undo());
        const clone = later(await scene.clone(way, { disk: fault.disk === true }), (made) => made.destroy());
        const report = (): string => clone.report();
        // The first segment shows that the recovery runs; the history is asked for before any WAL.
        const file = fault.history === true ? HISTORY : second;
        clone.hold(file);
        await clone.server.start({ wait: 'spawned' });
        const ended = clone.server.exited();
        await clone.held(file);
        if (fault.history !== true) expect(clone.codes(first)).toEqual([0]);
        const before = way === 'the command' ? 0 : await asked(file);
        const heal = fault.make({ archive: scene.archive, clone, segment: second });
        try {
          clone.release(file);
          expect(await ended, report()).toBe(1);
          await until('the log', () => clone.server.log.includes('FATAL'), report);
          expect(clone.codes(file), report()).toEqual([255]);
          expect(clone.server.log).toContain(
            `could not restore file "${file}" from archive: child process exited with exit code 255`,
          );
          expect(clone.server.log).toMatch(fault.says);
          expect(clone.server.log).not.toContain('selected new timeline ID');
          expect(existsSync(join(clone.server.data, 'recovery.signal'))).toBe(true);
          expect(existsSync(join(clone.server.data, 'pg_wal', '00000003.history'))).toBe(false);
          if (way !== 'the command') expect(await asked(file)).toBeGreaterThan(before);
        } finally {
          heal();
        }
        await clone.server.start({ wait: 'spawned' });
        await promoted(clone);
        expect(await rows(clone)).toBe('1 2 3');
        expect(clone.server.log).toContain('selected new timeline ID: 3');
        expect(readdirSync(join(clone.server.data, 'pg_wal')).filter((name) => /fetch|pgark/.test(name))).toEqual([]);
      },
    );

    /** Kills the agent while the request for a segment waits for the storage, which then works again. */
    async function killInTheMiddle(clone: Clone, segment: string): Promise<void> {
      const { proxy } = scene.archive;
      await clone.held(segment);
      const before = await asked(segment);
      proxy?.stall();
      clone.release(segment);
      await until(
        'the request',
        async () => (await asked(segment)) > before,
        () => clone.report(),
      );
      expect((await scene.archive.agent()).isBusyWith('wal-fetch')).toBe(true);
      await scene.archive.killAgent();
      proxy?.resume();
    }

    test.skipIf(versityMissing !== undefined || (!FULL && major !== MAIN))(
      'H-20 agent killed in the middle: a recovery goes on without it, and has all rows',
      async () => {
        later(scene.archive.set({ storage: 's3' }), (undo) => undo());
        const clone = later(await scene.clone('the agent'), (made) => made.destroy());
        const [, second = ''] = scene.segments;
        clone.hold(second);
        await clone.server.start({ wait: 'spawned' });
        await killInTheMiddle(clone, second);
        await promoted(clone);
        expect(clone.codes(second)).toEqual([0]);
        expect(await rows(clone)).toBe('1 2 3');
      },
    );

    test.each(ways)(
      'H-20 through %s: a standby outlives every fault, one after the other, and goes on after each',
      async (way) => {
        const { archive, segments } = scene;
        later(archive.set({ bucket: 'long' }), (undo) => undo());
        const clone = later(await scene.clone(way, { standby: true, disk: NO_DISK === undefined }), (made) =>
          made.destroy(),
        );
        const report = (): string => clone.report();
        const [history, ...others] = (FULL ? RECOVERY_FAULTS : ALWAYS)
          .filter(({ missing }) => missing === undefined)
          .toSorted((one, other) => Number(other.history ?? false) - Number(one.history ?? false));
        // The third segment is the first one of the second timeline, of which it does not know before.
        const faults = [...others.slice(0, 2), ...(history === undefined ? [] : [history]), ...others.slice(2)];
        const healHistory = healedOnce(archive.lose(HISTORY));
        clone.hold(segments[0] ?? '');
        await clone.server.start({ wait: 'spawned' });
        const { pid } = clone.server;

        const refused = async (file: string, code: number, before = 0): Promise<void> => {
          await until(`two refusals of ${file}`, () => clone.codes(file).length > before + 1, report);
          expect(new Set(clone.codes(file)), report()).toEqual(new Set([code]));
          expect(clone.server.running).toBe(true);
        };
        const begin = async (fault: RecoveryFault, segment: string): Promise<() => void> => {
          if (fault.history === true) {
            // It has all of the first timeline, the end of which never became a whole segment.
            const end = segment.replace(/^00000002/, '00000001');
            await until('the end of the first timeline', () => clone.codes(end).length > 0, report);
            await refused(HISTORY, 1, clone.codes(HISTORY).length);
            return healHistory;
          }
          await clone.held(segment);
          const back = archive.set({ storage: fault.s3 === true ? 's3' : 'fs' });
          const undo = fault.make({ archive, clone, segment });
          const heal = healedOnce(() => {
            undo();
            back();
          });
          clone.release(segment);
          await refused(segment, fault.standby ?? 2);
          if (fault.standby === undefined) expect(clone.server.log).toMatch(fault.says);
          return heal;
        };
        for (const [at, fault] of faults.entries()) {
          const heal = await begin(fault, segments[at] ?? '');
          // That the next one is asked for shows that this one was replayed.
          if (faults[at + 1]?.history !== true) clone.hold(segments[at + 1] ?? '');
          heal();
        }
        const last = segments[faults.length] ?? '';
        if (way !== 'the command' && versityMissing === undefined) {
          await clone.held(last);
          later(archive.set({ storage: 's3' }), (undo) => undo());
          await killInTheMiddle(clone, last);
        } else {
          await clone.held(last);
          clone.release(last);
        }
        const all = segments.map((_, at) => at + 1).join(' ');
        await until('all rows', async () => (await rows(clone).catch(() => '')) === all, report);
        expect(await clone.server.value('SELECT pg_is_in_recovery()')).toBe('true');
        expect(clone.server.pid).toBe(pid);
        expect(clone.codes().filter((code) => code > 2)).toEqual([]);
      },
    );
  },
);
