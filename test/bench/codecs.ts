/**
 * The pipeline beside the commands of the formats, on one file, in and out by standard streams: `cat FILE | command >/dev/null`. Ours
 * hashes plain and stored bytes as it does in a backup; the commands hash nothing but what their format asks for. The time is that of the
 * whole process.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'tsup';
import { CODEC_SPECS, type CodecSpec, type Keys } from './codec-specs.ts';
import { ROOT } from './cluster.ts';
import { installed } from './machine.ts';
import { runCommand, type Command, type Figure, type Run } from './measure.ts';
import { costsOf, runPairs, type PairedRuns } from './pairs.ts';
import { digestOf, type Sample } from './sample.ts';

export interface CodecResult {
  readonly figures: readonly Figure[];
  readonly peaks: Readonly<Record<string, number>>;
  readonly leftOut: readonly string[];
}

export async function benchCodecs(folder: string, sample: Sample, rounds: number): Promise<CodecResult> {
  const figures: Figure[] = [];
  const peaks: Record<string, number> = {};
  const leftOut: string[] = [];
  const program = await buildPipe();
  for (const spec of CODEC_SPECS) {
    const missing = missingFor(spec);
    if (missing !== undefined) {
      leftOut.push(`${spec.name}: ${missing}`);
      continue;
    }
    const found = await benchCodec(spec, { folder, sample, rounds, program, keys: makeKeys(spec, folder) });
    figures.push(...found);
    const highest = Math.max(...found.map(({ cost }) => cost?.ours.peakBytes ?? 0));
    peaks[`${spec.name}, through a pipe`] = highest;
  }
  return { figures, peaks, leftOut };
}

function missingFor({ chain, tools }: CodecSpec): string | undefined {
  const codec = chain({ recipient: '', identityFile: '', keyFile: '' })
    .map(({ use }) => use)
    .find((use) => !existsSync(join(ROOT, `plugins/codec-${use}/dist/index.js`)));
  if (codec !== undefined) return `the codec ${codec} is not built`;
  const tool = tools.find((name) => !installed(name));
  return tool === undefined ? undefined : `the command ${tool} is not installed`;
}

/** Built as the program itself is built: stripping types at every start would be counted. */
async function buildPipe(): Promise<string> {
  const outDir = join(ROOT, '.bench/pipe');
  await build({
    config: false,
    silent: true,
    entry: {
      'codec-pipe': fileURLToPath(new URL('./codec-pipe.ts', import.meta.url)),
      'hash-worker': join(ROOT, 'core/src/pipeline/hash-worker.ts'),
    },
    format: ['esm'],
    target: 'node22',
    platform: 'node',
    outDir,
    skipNodeModulesBundle: true,
  });
  return join(outDir, 'codec-pipe.js');
}

function makeKeys({ tools }: CodecSpec, folder: string): Keys {
  const identityFile = join(folder, 'age.key');
  const keyFile = join(folder, 'aes.key');
  if (!existsSync(keyFile)) writeFileSync(keyFile, `${randomBytes(32).toString('hex')}\n`);
  if (!tools.includes('age')) return { recipient: '', identityFile, keyFile };
  if (!existsSync(identityFile)) execFileSync('age-keygen', ['-o', identityFile], { stdio: 'ignore' });
  const recipient = execFileSync('age-keygen', ['-y', identityFile], { encoding: 'utf8' }).trim();
  return { recipient, identityFile, keyFile };
}

interface Bench {
  readonly folder: string;
  readonly sample: Sample;
  readonly rounds: number;
  readonly program: string;
  readonly keys: Keys;
}

async function benchCodec(spec: CodecSpec, bench: Bench): Promise<readonly Figure[]> {
  const { folder, sample, rounds, program, keys } = bench;
  const ours = (direction: 'encode' | 'decode'): Command => ({
    program: process.execPath,
    args: [program, direction, JSON.stringify(spec.chain(keys)), keys.identityFile],
    env: { BENCH_ROOT: ROOT },
  });
  const peer = spec.peer?.(keys);
  const encoded = join(folder, 'ours.encoded');
  const peerEncoded = join(folder, 'peer.encoded');
  await runCommand({ ...ours('encode'), pipeFrom: sample.path, pipeTo: encoded });
  if (peer !== undefined) await runCommand({ ...peer.encode, pipeFrom: sample.path, pipeTo: peerEncoded });
  await checkBoth(spec, bench, { ours: ours('decode'), peer: peer?.decode, encoded, peerEncoded });

  const measure = async (direction: 'encode' | 'decode'): Promise<PairedRuns> => {
    const command = peer?.[direction];
    const own = direction === 'encode' ? sample.path : encoded;
    const other = direction === 'encode' ? sample.path : peerEncoded;
    return runPairs({
      rounds,
      ours: async () => checked(await runCommand({ ...ours(direction), pipeFrom: own }), spec, sample),
      ...(command === undefined ? {} : { peer: () => runCommand({ ...command, pipeFrom: other }) }),
    });
  };
  const encode = await measure('encode');
  const decode = await measure('decode');
  const share = (path: string): string => `${((statSync(path).size / sample.bytes) * 100).toFixed(1)} %`;
  const note = `stored: ${share(encoded)}${peer === undefined ? '' : `, by the peer ${share(peerEncoded)}`}`;
  rmSync(encoded);
  rmSync(peerEncoded, { force: true });

  const figure = (what: 'encode' | 'decode' | 'both', runs: PairedRuns): Figure => {
    const target = spec.targets[what];
    const rates = (side: readonly Run[]): number[] => side.map(({ seconds }) => sample.bytes / 1e6 / seconds);
    return {
      name: `${spec.name}, ${what === 'both' ? 'encode + decode' : what}`,
      unit: 'MB/s',
      better: 'more',
      ours: rates(runs.ours),
      ...(peer === undefined ? {} : { peer: rates(runs.peer), peerName: peer.names[what] }),
      ...(target === undefined ? {} : { target }),
      ...costsOf(runs),
      ...(what === 'encode' ? { note } : {}),
    };
  };
  const both = { ours: inSequence(encode.ours, decode.ours), peer: inSequence(encode.peer, decode.peer) };
  return [figure('encode', encode), figure('decode', decode), figure('both', both)];
}

/** Two commands as if they were one, run one after the other. */
function inSequence(first: readonly Run[], second: readonly Run[]): readonly Run[] {
  return first.map((run, at) => {
    const next = second[at] ?? run;
    return {
      ...next,
      seconds: run.seconds + next.seconds,
      cpuSeconds: run.cpuSeconds + next.cpuSeconds,
      peakBytes: Math.max(run.peakBytes, next.peakBytes),
    };
  });
}

/** Each reads what the other wrote, to the same bytes: else the two did not do the same work. */
async function checkBoth(
  spec: CodecSpec,
  { folder, sample }: Bench,
  decoders: { ours: Command; peer: Command | undefined; encoded: string; peerEncoded: string },
): Promise<void> {
  const { ours, peer, encoded, peerEncoded } = decoders;
  checked(await runCommand({ ...ours, pipeFrom: encoded }), spec, sample);
  if (peer === undefined) return;
  checked(await runCommand({ ...ours, pipeFrom: peerEncoded }), spec, sample);
  const decoded = join(folder, 'decoded');
  await runCommand({ ...peer, pipeFrom: encoded, pipeTo: decoded });
  if ((await digestOf(decoded)) !== sample.sha256)
    throw new Error(`${spec.name}: ${peer.program} read other bytes than were encoded`);
  rmSync(decoded);
}

/** The program tells the SHA-256 of the plain bytes, those that it encoded or gave out. */
function checked(run: Run, { name }: CodecSpec, sample: Sample): Run {
  const { plainSha256, plainSize } = JSON.parse(run.stderr) as { plainSha256: string; plainSize: number };
  if (plainSha256 !== sample.sha256 || plainSize !== sample.bytes)
    throw new Error(`${name}: ${plainSize} bytes passed, not the ${sample.bytes} of the sample, or others`);
  return run;
}
