/** Holds an archive's segments to the rule that nothing is missing, timeline by timeline; apart from the code that looks for holes. */
import { parseHistory } from '../../core/src/postgres/timeline.ts';
import { parseWalFileName, segmentNumberOf } from '../../core/src/postgres/wal-file.ts';
import { fsRepository } from './fs-repository.ts';
import { repositoryHashes } from './receiving.ts';

/** The segments that each timeline holds, and the names of what is missing before, between and after them. */
export async function contiguity(
  repository: string,
  systemId: string,
  segmentSize: number,
): Promise<{ readonly segments: ReadonlyMap<number, number>; readonly missing: readonly string[] }> {
  const timelines = new Map<number, bigint[]>();
  for (const name of [...(await repositoryHashes(repository, systemId)).keys()].sort()) {
    const file = parseWalFileName(name);
    if (file?.kind !== 'segment') continue;
    timelines.set(file.timeline, [...(timelines.get(file.timeline) ?? []), segmentNumberOf(file, segmentSize)]);
  }
  const missing: string[] = [];
  const wal = (await fsRepository(repository, { compressed: false })).wal(systemId);
  for (const [timeline, numbers] of timelines) {
    const [first = 0n] = numbers;
    numbers.forEach((number, at) => {
      if (number !== first + BigInt(at)) missing.push(`timeline ${timeline}: before segment ${number}`);
    });
    if (timeline === 1) continue;
    const history = await wal.history(timeline);
    const fork = history === undefined ? undefined : parseHistory(history.content, 'history').at(-1);
    if (fork === undefined) {
      missing.push(`timeline ${timeline}: its history`);
      continue;
    }
    const at = fork.end / BigInt(segmentSize);
    if (first !== at) missing.push(`timeline ${timeline}: begins with segment ${first}, not ${at}`);
    // A timeline that ended within its first segment has no whole one.
    const before = timelines.get(fork.timeline)?.at(-1);
    if (before !== undefined && before + 1n < at)
      missing.push(`timeline ${fork.timeline}: segments ${before + 1n} to ${at - 1n}`);
  }
  return { segments: new Map([...timelines].map(([timeline, { length }]) => [timeline, length])), missing };
}
