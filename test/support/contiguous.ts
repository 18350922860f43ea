/** Holds an archive's segments to the rule that nothing is missing, timeline by timeline; apart from the code that looks for holes. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ancestry, parseHistory } from '../../core/src/postgres/timeline.ts';
import { parseWalFileName, segmentNumberOf } from '../../core/src/postgres/wal-file.ts';
import { fsRepository } from './fs-repository.ts';

/** A WAL file in the archive: its name, its digest, the suffixes of its codecs. */
const OBJECT = /(?:^|\/)([^/]+)-[0-9a-f]{32}(?:\.[a-z0-9]+)*$/;

/** How many segments each timeline holds, and what is missing along the line of descent of the newest one. */
export async function contiguity(
  repository: string,
  systemId: string,
  segmentSize: number,
): Promise<{ readonly segments: ReadonlyMap<number, number>; readonly missing: readonly string[] }> {
  const timelines = new Map<number, Set<bigint>>();
  const folder = join(repository, 'main', systemId, 'wal');
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    const name = OBJECT.exec(path)?.[1];
    const file = name === undefined ? undefined : parseWalFileName(name);
    if (file?.kind !== 'segment') continue;
    timelines.set(file.timeline, (timelines.get(file.timeline) ?? new Set()).add(segmentNumberOf(file, segmentSize)));
  }
  if (timelines.size === 0) throw new Error(`no segment lies in ${folder}`);
  const newest = Math.max(...timelines.keys());
  const history = await (await fsRepository(repository)).wal(systemId).history(newest);
  if (history === undefined && newest > 1) throw new Error(`timeline ${newest} has no history`);
  const size = BigInt(segmentSize);
  const missing: string[] = [];
  for (const { timeline, start, end } of ancestry(
    newest,
    parseHistory(history?.content ?? Buffer.alloc(0), 'history'),
  )) {
    const held = [...(timelines.get(timeline) ?? [])];
    const [first, last] = [held[0] ?? start / size, held.at(-1) ?? -1n];
    // The first timeline begins where the archive does. One that ended within its first segment has no whole one.
    const from = timeline === 1 ? first : start / size;
    const to = end === undefined ? last : end / size - 1n;
    for (let number = from; number <= to; number += 1n)
      if (!held.includes(number)) missing.push(`timeline ${timeline}: segment ${number}`);
  }
  return { segments: new Map([...timelines].map(([timeline, { size: count }]) => [timeline, count])), missing };
}
