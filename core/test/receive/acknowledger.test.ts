import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Acknowledger, REPEAT_AFTER } from '../../src/receive/acknowledger.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

interface Sent {
  readonly write: bigint;
  readonly flush: bigint;
}

function acknowledger(policy: 'local' | 'remote', floor = 100n): { sent: Sent[]; made: Acknowledger } {
  const sent: Sent[] = [];
  const made = new Acknowledger({
    policy,
    floor,
    confirmed: 0n,
    now: () => Date.now(),
    send: (position) => sent.push(position),
  });
  return { sent, made };
}

test('what is new is reported at once, what is not is not', () => {
  const { sent, made } = acknowledger('local');
  made.durable(200n);
  made.durable(200n);
  made.durable(150n);
  expect(sent).toEqual([{ write: 200n, flush: 200n }]);
  made.close();
});

test('H-03 requests for a position that is known are answered, but not more often than the server can mean it', () => {
  const { sent, made } = acknowledger('local');
  made.durable(200n);
  // A server that answers each report with a request, as one that shuts down does.
  const begun = sent.length;
  for (let i = 0; i < 100; i++) {
    made.requested();
    vi.advanceTimersByTime(REPEAT_AFTER / 100);
  }
  vi.advanceTimersByTime(10 * REPEAT_AFTER);
  expect(sent.length - begun).toBeGreaterThanOrEqual(1);
  expect(sent.length - begun).toBeLessThanOrEqual(2);
  made.close();
});

test('a request after a long silence is answered at once', () => {
  const { sent, made } = acknowledger('local');
  made.durable(200n);
  vi.advanceTimersByTime(30_000);
  made.requested();
  expect(sent).toHaveLength(2);
  made.close();
});

test('remote: flush is what was confirmed, never more than is durable, and write runs ahead', () => {
  const { sent, made } = acknowledger('remote');
  made.durable(200n);
  expect(sent.at(-1)).toEqual({ write: 200n, flush: 0n });
  made.confirm(150n);
  expect(sent.at(-1)).toEqual({ write: 200n, flush: 150n });
  made.confirm(900n);
  expect(sent.at(-1)).toEqual({ write: 200n, flush: 200n });
  made.close();
});

test('H-02 whatever happens in whatever order, no reported position goes back or runs ahead of what holds it', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('durable' as const), lsn: fc.bigInt(0n, 1000n) }),
    fc.record({ kind: fc.constant('confirm' as const), lsn: fc.bigInt(0n, 1000n) }),
    fc.record({ kind: fc.constant('requested' as const) }),
    fc.record({ kind: fc.constant('tick' as const) }),
    fc.record({ kind: fc.constant('wait' as const), time: fc.integer({ min: 1, max: 2000 }) }),
  );
  fc.assert(
    fc.property(fc.constantFrom('local' as const, 'remote' as const), fc.array(step), (policy, steps) => {
      const { sent, made } = acknowledger(policy);
      let [durable, confirmed] = [100n, 0n];
      for (const event of steps) {
        if (event.kind === 'durable') {
          durable = event.lsn > durable ? event.lsn : durable;
          made.durable(event.lsn);
        } else if (event.kind === 'confirm') {
          confirmed = event.lsn > confirmed ? event.lsn : confirmed;
          made.confirm(event.lsn);
        } else if (event.kind === 'requested') made.requested();
        else if (event.kind === 'tick') made.tick();
        else vi.advanceTimersByTime(event.time);
        const last = sent.at(-1);
        if (last === undefined) continue;
        expect(last.write).toBeLessThanOrEqual(durable);
        expect(last.flush).toBeLessThanOrEqual(policy === 'local' ? durable : confirmed);
      }
      made.close();
      for (const [index, position] of sent.entries()) {
        const before = sent[index - 1];
        if (before === undefined) continue;
        expect(position.write).toBeGreaterThanOrEqual(before.write);
        expect(position.flush).toBeGreaterThanOrEqual(before.flush);
      }
    }),
  );
});
