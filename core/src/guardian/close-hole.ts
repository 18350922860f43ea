/** Brings segments that a repository lacks from where they still are. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isArchiveError, type ArchiveError, type ErrorCode } from '../contracts/errors.ts';
import type { ConnectionTarget } from '../postgres/target.ts';
import { parseWalFileName, segmentName, segmentNumberOf } from '../postgres/wal-file.ts';
import { asArchiveError } from '../receive/messages.ts';
import { shipFile } from '../receive/ship-file.ts';
import { guard } from '../receive/spool-error.ts';
import type { Repository } from '../repository/repository.ts';
import type { WalObject } from '../repository/wal.ts';
import type { WalHole } from './holes.ts';
import { checkSameWal } from './same-wal.ts';
import { serverSegments } from './server-segments.ts';

export interface CloseHoleOptions {
  readonly systemId: string;
  readonly segmentSize: number;
  /** The repositories that may have what the one lacks, in their order. */
  readonly others: readonly Repository[];
  /** The servers that may still have it, each for itself. */
  readonly servers: readonly ConnectionTarget[];
  /** A folder for segments that come from a server; it is made, and removed. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

export interface ClosedHole {
  /** Segments that were brought, by where they came from. */
  readonly brought: ReadonlyMap<string, number>;
  /** What is left of the hole. */
  readonly left: readonly WalHole[];
  /** Segments that another repository has, but damaged, or with two contents: as good as none. */
  readonly damaged: readonly { readonly name: string; readonly error: ArchiveError }[];
  /** Those that could not say whether they have the rest. */
  readonly silent: readonly { readonly name: string; readonly error: ArchiveError }[];
}

/**
 * Closes a hole of a repository as far as it goes: segment by segment from another repository, then the rest from a server. Each arrives
 * verified, and one that came meanwhile is no failure; a server is asked for it only if its WAL is that of the repository. Errors: those of writing into the repository; `WAL_CONFLICT`, `SPOOL_*`, `ABORTED`.
 */
export async function closeHole(lacking: Repository, hole: WalHole, options: CloseHoleOptions): Promise<ClosedHole> {
  const brought = new Map<string, number>();
  const note = (source: string): void => {
    brought.set(source, (brought.get(source) ?? 0) + 1);
  };
  const silent = new Map<string, ArchiveError>();
  const damaged: ClosedHole['damaged'][number][] = [];
  const onDamage = (name: string, error: ArchiveError): void => void damaged.push({ name, error });
  let left: readonly WalHole[] = await fromRepositories(lacking, hole, { ...options, note, silent, onDamage });
  for (const server of options.servers) {
    const rest: WalHole[] = [];
    for (const part of left) rest.push(...(await fromServer(lacking, part, server, options, note, silent)));
    left = rest;
  }
  return { brought, left, damaged, silent: [...silent].map(([name, error]) => ({ name, error })) };
}

/** What is wrong with the object itself, and not with the way to it. */
const DAMAGE: ReadonlySet<ErrorCode> = new Set([
  'STORAGE_CORRUPT',
  'CODEC_CORRUPT',
  'WAL_CONFLICT',
  'STORAGE_NOT_FOUND',
]);

interface FromRepositories extends CloseHoleOptions {
  readonly note: (source: string) => void;
  readonly silent: Map<string, ArchiveError>;
  readonly onDamage: (name: string, error: ArchiveError) => void;
}

async function fromRepositories(
  lacking: Repository,
  { timeline, first, last }: WalHole,
  { systemId, segmentSize, others, signal, note, silent, onDamage }: FromRepositories,
): Promise<readonly WalHole[]> {
  const left: bigint[] = [];
  for (let number = first; number <= last; number += 1n) {
    const name = segmentName(timeline, number, segmentSize);
    let found = false;
    for (const other of others) {
      if (found || silent.has(other.name)) continue;
      const wal = other.wal(systemId);
      let fault: unknown;
      const read = async function* (object: WalObject): AsyncGenerator<Uint8Array> {
        try {
          yield* wal.read(object, { signal });
        } catch (error) {
          fault = error;
          throw error;
        }
      };
      try {
        const object = await wal.find(name, { signal }).catch((error: unknown) => Promise.reject((fault = error)));
        if (object === undefined) continue;
        await lacking.wal(systemId).push(name, { digest: object.digest, read: () => read(object) }, { signal });
      } catch (error) {
        // What is wrong with the repository that lacks it is the caller's.
        if (signal.aborted || fault === undefined) throw error;
        const found = asArchiveError(fault);
        if (DAMAGE.has(found.code)) onDamage(`repository ${other.name}`, found);
        else silent.set(other.name, found);
        continue;
      }
      note(`repository ${other.name}`);
      found = true;
    }
    if (!found) left.push(number);
  }
  return runsOf(timeline, left);
}

/** Gives what the server did not have. */
async function fromServer(
  lacking: Repository,
  hole: WalHole,
  server: ConnectionTarget,
  { systemId, segmentSize, folder, signal }: CloseHoleOptions,
  note: (source: string) => void,
  silent: Map<string, ArchiveError>,
): Promise<readonly WalHole[]> {
  const name = `server ${server.hosts.map(({ host, port }) => `${host}:${port}`).join(', ')}`;
  const { timeline, first, last } = hole;
  const taken = new Set<bigint>();
  /** Whether the server had all of a part. One that cannot be asked has nothing, and says why. */
  const bring = async (from: bigint, to: bigint): Promise<boolean> => {
    if (silent.has(name)) return false;
    try {
      emptyFolder(folder);
      const part = { timeline, first: from, last: to };
      await serverSegments(server, part, { systemId, segmentSize, folder, signal }, async (segment) => {
        const file = parseWalFileName(segment);
        if (file === undefined || file.kind === 'history') return;
        await shipFile(lacking.wal(systemId), { file, path: join(folder, segment), signal });
        taken.add(segmentNumberOf(file, segmentSize));
      });
      return true;
    } catch (error) {
      if (signal.aborted || isArchiveError(error, 'WAL_CONFLICT')) throw error;
      const failure = asArchiveError(error);
      if (failure.code !== 'WAL_GAP' && failure.code !== 'TIMELINE_DIVERGED') silent.set(name, failure);
      return false;
    }
  };
  /** Whether what the server has is the WAL that is missing. One that cannot be asked has nothing, and says why. */
  const fits = async (): Promise<boolean> => {
    if (silent.has(name)) return false;
    try {
      emptyFolder(folder);
      await checkSameWal(lacking.wal(systemId), hole, server, { systemId, segmentSize, folder, signal });
      return true;
    } catch (error) {
      if (signal.aborted) throw error;
      const failure = asArchiveError(error);
      if (failure.code !== 'WAL_GAP' && failure.code !== 'TIMELINE_DIVERGED') silent.set(name, failure);
      return false;
    }
  };
  try {
    if (!(await fits())) return [hole];
    // A server removes its oldest WAL first: what it has may begin inside the hole.
    if (!(await bring(first, last)) && taken.size === 0 && first < last && (await bring(last, last))) {
      let [absent, present] = [first, last];
      while (present - absent > 1n) {
        const middle = (absent + present) / 2n;
        if (await bring(middle, middle)) present = middle;
        else absent = middle;
      }
      await bring(present, last);
    }
  } finally {
    for (const path of [folder, `${folder}.spare`]) rmSync(path, { recursive: true, force: true });
  }
  for (let count = taken.size; count > 0; count--) note(name);
  const left: bigint[] = [];
  for (let number = first; number <= last; number += 1n) if (!taken.has(number)) left.push(number);
  return runsOf(timeline, left);
}

function emptyFolder(folder: string): void {
  guard(folder, () => {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  });
}

/** Numbers, ascending, as runs without a hole. */
function runsOf(timeline: number, numbers: readonly bigint[]): readonly WalHole[] {
  const runs: WalHole[] = [];
  for (const number of numbers) {
    const run = runs.at(-1);
    if (run?.last === number - 1n) runs[runs.length - 1] = { ...run, last: number };
    else runs.push({ timeline, first: number, last: number });
  }
  return runs;
}
