import { CODEC_CLAUSES, CodecClauseSkipped, runCodecClause, type CodecSuiteOptions } from '@pgark/sdk/testing';
import { describe, expect, test } from 'vitest';
import { BROKEN_CODECS, codec, good, MIB } from '../support/broken-codecs.ts';

describe('H-84 the conformance suite of codecs finds', () => {
  for (const { fault, broken, clauses, concatenates = true } of BROKEN_CODECS) {
    test.for(clauses)(`a codec that ${fault}, by %s`, { timeout: 60_000 }, async (id, { skip }) => {
      const options: CodecSuiteOptions = {
        create: () => broken,
        tool: { decode: ['gzip', '-dc'], encode: [['gzip', '-c']] },
        blockSize: MIB,
        concatenates,
        patience: 2000,
      };
      const clause = CODEC_CLAUSES.find((candidate) => candidate.id === id);
      expect(clause, `clause ${id}`).toBeDefined();
      const found = await runCodecClause(clause!, options).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (found instanceof CodecClauseSkipped) skip(found.message);
      expect(found, 'the error that the clause found').toBeInstanceOf(Error);
    });
  }

  test('what it finds names the seed that finds it again', async () => {
    const clause = CODEC_CLAUSES.find(({ id }) => id === 'CODEC-01/content')!;
    const failing = codec({
      encode: () => {
        throw new RangeError('a fault of its own');
      },
    });
    await expect(runCodecClause(clause, { create: () => failing, seed: 42 })).rejects.toThrow('its own (seed 42)');
  });

  test('a gap must name a clause', async () => {
    const { describeCodec } = await import('@pgark/sdk/testing');
    const options = { create: () => good, knownGaps: [{ id: 'CODEC-99/none', reason: 'none' }] };
    expect(() => describeCodec('none', options)).toThrow('CODEC-99/none');
  });
});
