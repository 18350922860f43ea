/**
 * `npm run fuzz`: random streams and random damage through every codec until the time is over.
 * `npm run fuzz -- --codec zstd --seconds 60 --seed N`; several `--codec`, default all; `--cases N` in place of `--seconds`.
 */
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fuzzCodec, FuzzFailure, type FuzzCounts } from './fuzz-codec.ts';
import { FUZZ_TARGETS } from './targets.ts';

const { values } = parseArgs({
  options: {
    codec: { type: 'string', multiple: true, default: Object.keys(FUZZ_TARGETS) },
    seconds: { type: 'string', default: '60' },
    cases: { type: 'string' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
  },
});

const firstSeed = whole('seed', values.seed);
const most = values.cases === undefined ? Infinity : whole('cases', values.cases);
const milliseconds =
  values.cases === undefined ? (whole('seconds', values.seconds) * 1000) / values.codec.length : Infinity;

let failed = false;
for (const name of values.codec) {
  const target = FUZZ_TARGETS[name];
  if (target === undefined)
    throw new Error(`there is no codec "${name}" among ${Object.keys(FUZZ_TARGETS).join(', ')}`);
  const totals: FuzzCounts = { found: 0, same: 0, otherStreams: 0 };
  let cases = 0;
  try {
    for (const begin = performance.now(); cases < most && performance.now() - begin < milliseconds; cases++) {
      const counts = await fuzzCodec(target, (firstSeed + cases) % 2 ** 32);
      totals.found += counts.found;
      totals.same += counts.same;
      totals.otherStreams += counts.otherStreams;
    }
  } catch (error) {
    if (!(error instanceof FuzzFailure)) throw error;
    failed = true;
    console.error(`${name}: ${error.message}`);
    if (error.cause !== undefined) console.error(error.cause);
    if (error.stream !== undefined) {
      const path = join(tmpdir(), `pgark-fuzz-${name}-${error.seed}`);
      writeFileSync(path, error.stream);
      console.error(`the stream: ${path}`);
    }
    console.error(`again: npm run fuzz -- --codec ${name} --cases 1 --seed ${error.seed}`);
  }
  const { found, same, otherStreams } = totals;
  console.log(
    `${name}: ${cases} cases from seed ${firstSeed} on; of damaged streams ${found} were found, ${same} gave the same bytes, ${otherStreams} were other whole streams`,
  );
}
process.exitCode = failed ? 1 : 0;

function whole(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${option} takes a whole number, not "${text}"`);
  return value;
}
