import { describe, expect, test } from 'vitest';
import { makeEvent } from '../../src/contracts/event-table.ts';
import type { ArchiveEvent, EventName } from '../../src/contracts/hook.ts';
import { due, fold, type ToldCondition } from '../../src/hooks/fold.ts';
import { Random } from '@pgark/sdk/testing';

const QUIET = 1000;

function at<Name extends EventName>(time: number, name: Name, data: ArchiveEvent<Name>['data']): ArchiveEvent {
  return makeEvent(name, data, { id: `${name}-${time}`, time, cluster: 'c', host: 'h' });
}

const opens = (time: number): ArchiveEvent =>
  at(time, 'storage.degraded', { repository: 'r', code: 'STORAGE_FULL', message: 'full' });
const worse = (time: number): ArchiveEvent =>
  at(time, 'wal.conflict', { repository: 'r', file: 'f', message: 'other' });
const closes = (time: number): ArchiveEvent => at(time, 'storage.recovered', { repository: 'r' });

/** Gives the times of what was told, one after the other. */
function told(
  events: readonly ArchiveEvent[],
  wanted: (event: ArchiveEvent) => boolean = () => true,
): readonly string[] {
  let state: ToldCondition | undefined;
  return events.flatMap((event) => {
    const folded = fold(state, event, { wanted: wanted(event), quiet: QUIET });
    state = folded.state;
    const { send } = folded;
    return send === undefined ? [] : [`${send.time} ${send.condition?.state} ${send.condition?.repeated ?? 0}`];
  });
}

describe('fold', () => {
  test('tells a condition that stays once in the quiet time', () => {
    expect(told([opens(1), opens(2), opens(900), opens(1001), opens(1002)])).toEqual(['1 open 0', '1001 open 2']);
  });

  test('tells the end, and how often it was not told', () => {
    expect(told([opens(1), opens(2), opens(3), closes(4)])).toEqual(['1 open 0', '4 closed 2']);
  });

  test('tells at once what is worse than what was told', () => {
    expect(told([opens(1), worse(2), opens(3), worse(4), closes(5)])).toEqual(['1 open 0', '2 open 0', '5 closed 2']);
  });

  test('tells an end to those who were told of the beginning, and to those who ask for it', () => {
    const severe = ({ severity }: ArchiveEvent): boolean => severity !== 'info';
    expect(told([closes(1), opens(2), closes(3), closes(4)], severe)).toEqual(['2 open 0', '3 closed 0']);
    expect(told([closes(1)])).toEqual(['1 closed 0']);
  });

  test('a clock that is put back does not silence', () => {
    expect(told([opens(5000), opens(10)])).toEqual(['5000 open 0', '10 open 0']);
  });

  test('without a quiet time tells everything', () => {
    const events = [opens(1), opens(1), closes(1), opens(1), closes(1)];
    let state: ToldCondition | undefined;
    for (const event of events) {
      const folded = fold(state, event, { wanted: true, quiet: 0 });
      state = folded.state;
      expect(folded.send?.id).toBe(event.id);
    }
  });

  test('what a hook was told is right in the end, and at most two messages in a quiet time, whatever happens', () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const random = new Random(seed);
    for (let round = 0; round < 200; round += 1) {
      let state: ToldCondition | undefined;
      let isOpen = false;
      let time = 0;
      const sent: ArchiveEvent[] = [];
      for (let step = 0; step < 50; step += 1) {
        time += random.integer(400);
        isOpen = random.integer(2) === 0;
        const folded = fold(state, isOpen ? opens(time) : closes(time), { wanted: isOpen, quiet: QUIET });
        const later =
          folded.state === undefined ? undefined : due(folded.state, { now: time, quiet: QUIET, end: false });
        state = later === undefined ? folded.state : later.state;
        sent.push(...[folded.send, later?.send].filter((event) => event !== undefined));
      }
      const last = state === undefined ? undefined : due(state, { now: time + QUIET, quiet: QUIET, end: false }).send;
      if (last !== undefined) sent.push(last);
      const states = sent.map(({ condition }) => condition?.state);
      expect(states.at(-1) ?? 'closed', `seed ${seed}`).toBe(isOpen ? 'open' : 'closed');
      expect(
        states.every((one, nth) => one !== 'closed' || states[nth - 1] === 'open'),
        `seed ${seed}`,
      ).toBe(true);
      expect(states.filter((one) => one === 'open').length, `seed ${seed}`).toBeLessThanOrEqual(time / QUIET + 2);
    }
  });
});
