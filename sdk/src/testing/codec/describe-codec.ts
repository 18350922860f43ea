import { describe, test } from 'vitest';
import { Random } from '../storage/random.ts';
import { CodecClauseContext, CodecClauseSkipped, type CodecClause, type CodecSuiteOptions } from './clause.ts';
import { DAMAGE_CLAUSES } from './damage-clauses.ts';
import { FLOW_CLAUSES } from './flow-clauses.ts';
import { INSPECT_CLAUSES } from './inspect-clauses.ts';
import { KEY_CLAUSES } from './key-clauses.ts';
import { ORDER_CLAUSES } from './order-clauses.ts';
import { ROUND_TRIP_CLAUSES } from './round-trip-clauses.ts';
import { TOOL_CLAUSES } from './tool-clauses.ts';

/** Every clause of the codec contract as it is tested. */
export const CODEC_CLAUSES: readonly CodecClause[] = [
  ...ROUND_TRIP_CLAUSES,
  ...TOOL_CLAUSES,
  ...DAMAGE_CLAUSES,
  ...ORDER_CLAUSES,
  ...FLOW_CLAUSES,
  ...INSPECT_CLAUSES,
  ...KEY_CLAUSES,
];

/**
 * The conformance suite of a codec: one vitest test for each clause of the contract.
 *
 * @example
 * describeCodec('zstd', {
 *   create: () => new ZstdCodec({ level: 1 }),
 *   tool: { decode: ['zstd', '-dc'], encode: [['zstd', '-c']] },
 *   concatenates: true,
 * });
 */
export function describeCodec(name: string, options: CodecSuiteOptions): void {
  const gaps = new Map(options.knownGaps?.map(({ id, reason }) => [id, reason]));
  for (const id of gaps.keys()) {
    if (!CODEC_CLAUSES.some((clause) => clause.id === id)) throw new Error(`there is no clause ${id} to have a gap in`);
  }
  describe(`codec ${name}`, () => {
    for (const clause of CODEC_CLAUSES) {
      test(`${clause.title} [${clause.id}]`, { timeout: options.timeout ?? 60_000 }, async ({ skip }) => {
        const gap = gaps.get(clause.id);
        if (gap !== undefined) skip(`known gap: ${gap}`);
        try {
          await runCodecClause(clause, options);
        } catch (error) {
          if (error instanceof CodecClauseSkipped) skip(error.message);
          throw error;
        }
      });
    }
  });
}

/** Runs one clause by itself; rejects when the codec breaks it. */
export async function runCodecClause(clause: CodecClause, options: CodecSuiteOptions): Promise<void> {
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32);
  const context = new CodecClauseContext(await options.create(), options, new Random(seed));
  try {
    await clause.run(context);
  } catch (error) {
    if (error instanceof Error && !(error instanceof CodecClauseSkipped)) error.message += ` (seed ${seed})`;
    throw error;
  }
}

export {
  CodecClauseContext,
  CodecClauseSkipped,
  type CodecClause,
  type CodecKeys,
  type CodecSuiteOptions,
  type CodecTool,
} from './clause.ts';
