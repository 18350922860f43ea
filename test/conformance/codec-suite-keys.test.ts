import { CODEC_CLAUSES, describeCodec, runCodecClause, type CodecSuiteOptions } from '@pgark/sdk/testing';
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { SealingCodec, type SealingFault, type SealingKey } from '../support/sealing-codec.ts';

const MINE: SealingKey = { id: 'key-2026', secret: randomBytes(32) };
const THEIRS: SealingKey = { id: 'key-else', secret: randomBytes(32) };

function options(fault?: SealingFault): CodecSuiteOptions {
  return {
    create: () => new SealingCodec(MINE, [MINE], fault),
    blockSize: 256 * 1024,
    future(encoded) {
      const later = Buffer.from(encoded);
      later[4] = 2;
      return later;
    },
    keys: {
      other: () => new SealingCodec(THEIRS, [THEIRS], fault),
      readOnly: () => new SealingCodec(undefined, [MINE], fault),
      writeOnly: () => new SealingCodec(MINE, [], fault),
      secrets: [MINE.secret, THEIRS.secret],
    },
    patience: 5000,
  };
}

describeCodec('sealing, the one of these tests, whole', options());

/** The protections that a codec with keys may lack, and the clauses that must find each. */
const FAULTS: Readonly<Record<SealingFault, readonly string[]>> = {
  order: ['CODEC-03/reordered'],
  'stream-key': ['CODEC-03/spliced'],
  version: ['CODEC-03/future'],
  'key-id': ['CODEC-08/other-key'],
  end: ['CODEC-03/concatenated', 'CODEC-03/garbage'],
  plain: ['CODEC-08/read-only'],
  'inspect-reads-all': ['CODEC-08/inspect'],
  'inspect-leaves-open': ['CODEC-08/inspect'],
  'inspect-knows-no-keys': ['CODEC-08/inspect', 'CODEC-08/other-key', 'CODEC-08/write-only'],
  'inspect-takes-anything': ['CODEC-08/inspect-damaged', 'CODEC-08/inspect-flow', 'CODEC-03/future'],
  'inspect-cannot-be-cancelled': ['CODEC-08/inspect-flow'],
  'no-inspect': ['CODEC-08/pair'],
  'tells-its-key': ['CODEC-08/secrets'],
};

describe('H-60 the conformance suite finds a codec with keys', () => {
  const cases = Object.entries(FAULTS).flatMap(([fault, ids]) => ids.map((id) => [fault as SealingFault, id] as const));
  test.each(cases)('with the fault "%s", by %s', async (fault, id) => {
    const clause = CODEC_CLAUSES.find((candidate) => candidate.id === id);
    expect(clause, `clause ${id}`).toBeDefined();
    const error: unknown = await runCodecClause(clause!, options(fault)).catch((found: unknown) => found);
    expect(error, 'what the clause found').toMatchObject({ code: 'ERR_ASSERTION' });
  });

  test('each clause on keys has a codec that breaks it', () => {
    const tried = new Set(Object.values(FAULTS).flat());
    const ids = CODEC_CLAUSES.map(({ id }) => id).filter((id) => id.startsWith('CODEC-08/'));
    expect(ids).toContain('CODEC-08/pair');
    expect([...ids, 'CODEC-03/future'].filter((id) => !tried.has(id))).toEqual([]);
  });
});
