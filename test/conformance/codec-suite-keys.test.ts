import { CODEC_CLAUSES, describeCodec, runCodecClause, type CodecSuiteOptions } from '@pgark/sdk/testing';
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { SEALING_FAULTS, SealingCodec, type SealingFault, type SealingKey } from '../support/sealing-codec.ts';

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

describe('H-60 the conformance suite finds a codec with keys', () => {
  const cases = Object.entries(SEALING_FAULTS).flatMap(([fault, ids]) =>
    ids.map((id) => [fault as SealingFault, id] as const),
  );
  test.each(cases)('with the fault "%s", by %s', async (fault, id) => {
    const clause = CODEC_CLAUSES.find((candidate) => candidate.id === id);
    expect(clause, `clause ${id}`).toBeDefined();
    const error: unknown = await runCodecClause(clause!, options(fault)).catch((found: unknown) => found);
    expect(error, 'what the clause found').toMatchObject({ code: 'ERR_ASSERTION' });
  });
});
