/** WAL from one repository into another. What the target has already is known from its listing, and not read. */
import { ArchiveError } from '../contracts/errors.ts';
import { historyName, segmentName } from '../postgres/wal-file.ts';
import { atOnce } from './at-once.ts';
import { failureOf, itemsWithin, within, type CopyFailure } from './failures.ts';
import { walPairs, type WalEntry, type WalPair, type WalSides, type WalStretch } from './wal-pairs.ts';
import type { WalScope } from './wal-scope.ts';

export interface CarryOptions extends WalSides {
  /** Files at once. */
  readonly concurrency: number;
  /** Told of the plain bytes of each file and slice that was written. */
  readonly onStored: (bytes: number) => void;
}

/** How many names of missing segments a message tells. */
const NAMED = 3;

/** Plain bytes of WAL as far as a listing tells them; histories and labels are small, and counted as stored. */
export function plainSizeOf(entry: WalEntry, segmentSize: number): number {
  if (!('file' in entry)) return entry.to - entry.from;
  return entry.file.kind === 'segment' || entry.file.kind === 'partial' ? segmentSize : entry.size;
}

/**
 * Looks whether the target would have all WAL of a backup after the copy: each segment is there, or in the source and to be carried.
 * Errors: `WAL_NOT_FOUND` names the backup and what is missing, `WAL_CONFLICT`, those of the storages.
 */
export async function checkNeeded(
  sides: WalSides,
  scope: WalScope,
  { id, carry }: { readonly id: string; readonly carry: boolean },
): Promise<void> {
  const { target, systemId } = sides;
  const missing = new Missing(sides, { id, carry });
  for (const timeline of carry ? [] : scope.histories) {
    const name = historyName(timeline);
    const wal = target.wal(systemId);
    if ((await within(target, () => wal.find(name, callOf(sides)))) === undefined) missing.add(name);
  }
  for (const stretch of scope.stretches) {
    for await (const pair of needed(sides, stretch, missing)) {
      if (pair.conflict !== undefined) throw pair.conflict;
      if (pair.target === undefined && !carry) missing.add(pair.name);
    }
  }
  missing.check();
}

/**
 * Carries what a backup needs. Errors: `WAL_NOT_FOUND` when neither repository has a segment of it, `WAL_CONFLICT`, `STORAGE_CORRUPT` and
 * `CODEC_CORRUPT` for a damaged one, those of the storages.
 */
export async function carryNeeded(scope: WalScope, id: string, options: CarryOptions): Promise<void> {
  const missing = new Missing(options, { id, carry: true });
  for (const timeline of scope.histories) await carryHistory(timeline, options);
  for (const stretch of scope.stretches)
    await atOnce(needed(options, stretch, missing), options, (pair, signal) =>
      carryPair(pair, stretch, { ...options, signal }),
    );
  missing.check();
}

/** Carries all of the scope that the source has. Gives the files that could not be; throws what no other file would escape. */
export async function carryFollowing(scope: WalScope, options: CarryOptions): Promise<readonly CopyFailure[]> {
  const failures: CopyFailure[] = [];
  const attempt = async (name: string, carry: () => Promise<void>): Promise<void> => {
    try {
      await carry();
    } catch (error) {
      failures.push(failureOf(name, error));
    }
  };
  for (const timeline of scope.histories) await attempt(historyName(timeline), () => carryHistory(timeline, options));
  for (const stretch of scope.stretches)
    await atOnce(walPairs(options, stretch), options, (pair, signal) =>
      attempt(pair.name, () => carryPair(pair, stretch, { ...options, signal })),
    );
  return failures;
}

async function carryHistory(timeline: number, options: CarryOptions): Promise<void> {
  const { source, systemId } = options;
  const name = historyName(timeline);
  const object = await within(source, () => source.wal(systemId).find(name, callOf(options)));
  if (object === undefined) throw new ArchiveError('WAL_NOT_FOUND', `repository ${source.name} has no ${name}`);
  await store(object, object.size, options);
}

async function carryPair(pair: WalPair, { segmentSize }: WalStretch, options: CarryOptions): Promise<void> {
  if (pair.conflict !== undefined) throw pair.conflict;
  if (pair.target !== undefined || pair.source === undefined) return;
  await store(pair.source, plainSizeOf(pair.source, segmentSize), options);
}

/** The target may have it by now from another writer. */
async function store(entry: WalEntry, bytes: number, options: CarryOptions): Promise<void> {
  const { source, target, systemId, onStored } = options;
  const call = callOf(options);
  const [from, to] = [source.wal(systemId), target.wal(systemId)];
  if ('file' in entry) {
    const { digest, file } = entry;
    const read = (): AsyncIterable<Uint8Array> => itemsWithin(source, from.read(entry, call));
    const outcome = await within(target, () => to.push(file.name, { digest, read }, call));
    if (outcome === 'stored') onStored(bytes);
    return;
  }
  // The receiver makes slices of at most 16 MiB.
  const slice = await within(source, () => from.readSlice(entry, call));
  await within(target, () => to.pushTail(entry.segment.name, entry.from, entry.to, slice, call));
  onStored(bytes);
}

/** The segments that a backup needs of a stretch, in both repositories; those that are in neither are noted as missing. */
async function* needed(sides: WalSides, stretch: WalStretch, missing: Missing): AsyncGenerator<WalPair> {
  const { timeline, first, last = first, segmentSize } = stretch;
  const name = (number: bigint): string => segmentName(timeline, number, segmentSize);
  let next = first;
  for await (const pair of walPairs(sides, { ...stretch, last })) {
    missing.addRange(name, next, pair.number);
    next = pair.number + 1n;
    yield pair;
  }
  missing.addRange(name, next, last + 1n);
}

/** WAL that a backup needs and that is not there. */
class Missing {
  readonly #sides: WalSides;
  readonly #backup: { readonly id: string; readonly carry: boolean };
  readonly #names: string[] = [];
  #count = 0;

  constructor(sides: WalSides, backup: { readonly id: string; readonly carry: boolean }) {
    this.#sides = sides;
    this.#backup = backup;
  }

  add(name: string): void {
    this.#count++;
    if (this.#names.length < NAMED) this.#names.push(name);
  }

  /** Segments from one number up to, not including, another. */
  addRange(name: (number: bigint) => string, from: bigint, to: bigint): void {
    for (let number = from; number < to && this.#names.length < NAMED; number++) this.#names.push(name(number));
    if (to > from) this.#count += Number(to - from);
  }

  check(): void {
    if (this.#count === 0) return;
    const { source, target } = this.#sides;
    const { id, carry } = this.#backup;
    const more = this.#count > this.#names.length ? ` and ${this.#count - this.#names.length} more WAL files` : '';
    const where = carry
      ? `neither in repository ${source.name} nor in ${target.name}`
      : `not in repository ${target.name}`;
    throw new ArchiveError('WAL_NOT_FOUND', `backup ${id} needs ${this.#names.join(', ')}${more}, ${where}`, {
      hint: carry
        ? 'Without this WAL the backup cannot be restored, wherever it lies: choose others with --backup, or take a new one.'
        : 'Let the copy carry it: --wal needed or --wal following.',
      details: { id, missing: this.#count },
    });
  }
}

function callOf({ signal }: WalSides): { readonly signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
