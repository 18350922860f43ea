/** The WAL of one system: what there must be of it, histories, and what the level asks to be read. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ArchiveError, isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import { formatLsn, parseLsn } from '../postgres/lsn.ts';
import { parseHistory } from '../postgres/timeline.ts';
import { historyName, parseWalFileName, segmentName, segmentNumber, lastSegmentNumber } from '../postgres/wal-file.ts';
import type { SegmentRun } from '../backup/required-wal.ts';
import { walFolder, walPrefix } from '../repository/layout.ts';
import type { WalArchive, WalObject } from '../repository/wal.ts';
import { describeGap, type RecordedGap } from '../repository/wal-gaps.ts';
import { checkTextFile } from '../wal-command/segment-check.ts';
import { ClosedObjects } from './closed-objects.ts';
import type { Unrestorable } from './finding.ts';
import type { Impact } from './impact.ts';
import { isClosed, type Report } from './report.ts';
import type { TimelineEnd } from './result.ts';
import type { VerifySettings } from './settings.ts';
import { readWal } from './wal-content.ts';
import { listWal, type WalListing, type WalStretch } from './wal-listing.ts';

/** Segments from the end of a timeline on which others may still be on their way, and milliseconds between two looks for them. */
const NEAR = 8n;
const POLL = 1000;

export interface WalCheckOptions extends VerifySettings {
  readonly wal: WalArchive;
  readonly impact: Impact;
  /** On record, and still open. */
  readonly gaps: readonly RecordedGap[];
  /** How far the WAL went when it was last verified. */
  readonly before: readonly TimelineEnd[];
}

/** Looks at the histories of some timelines, and at what the level asks for of some stretches. Errors: those of the storage as a whole; `ABORTED`. */
export class WalCheck {
  readonly #report: Report;
  readonly #options: WalCheckOptions;
  readonly #closed: ClosedObjects;

  constructor(report: Report, options: WalCheckOptions) {
    this.#report = report;
    this.#options = options;
    this.#closed = new ClosedObjects(report);
  }

  /** Reads the history of a timeline, which must lead to its ancestors as their own histories do. */
  async history(timeline: number): Promise<void> {
    const { wal, impact, call } = this.#options;
    const name = historyName(timeline);
    const lost = impact.ofHistory(timeline);
    let key = this.#nameKey(name);
    let found: WalObject | undefined;
    try {
      const object = await wal.find(name, call);
      if (object === undefined) {
        this.#report.found(key, 'missing', `${name} is not there`, lost);
        return;
      }
      ({ key } = object);
      found = object;
      const { content } = (await wal.history(timeline, call)) ?? {};
      if (content === undefined) throw new ArchiveError('STORAGE_NOT_FOUND', `${name} is not there`);
      this.#report.looked(object.size);
      this.#closed.opened(object);
      checkTextFile(content, object.file as Parameters<typeof checkTextFile>[1]);
      await this.#checkAncestors(timeline, content);
    } catch (error) {
      if (isClosed(error) && found !== undefined) this.#closed.add(found, error, lost);
      else this.#report.failed(key, error, lost);
    }
  }

  /** No more histories and stretches come, which were given in the order of their timelines. */
  end(): void {
    this.#closed.end();
  }

  /** The history of the parent must be the beginning of this one. */
  async #checkAncestors(timeline: number, content: Uint8Array): Promise<void> {
    const { wal, call } = this.#options;
    const name = historyName(timeline);
    const switches = parseHistory(content, name);
    const parent = switches.at(-1)?.timeline ?? 1;
    if (parent === 1) return;
    const line = (one: { readonly timeline: number; readonly end: bigint }): string => `${one.timeline} ${one.end}`;
    let theirs: readonly string[] | undefined;
    try {
      const own = await wal.history(parent, call);
      theirs = own && parseHistory(own.content, historyName(parent)).map(line);
    } catch (error) {
      if (isArchiveError(error) && !error.retriable && error.code !== 'ABORTED') return; // told where it is looked at itself
      throw error;
    }
    if (theirs === undefined) return;
    if (switches.slice(0, -1).map(line).join('\n') !== theirs.join('\n'))
      throw new ArchiveError('WAL_INVALID', `${name} does not lead to the ancestors that ${historyName(parent)} names`);
  }

  /** Looks at a stretch; `isWhole` says that it is all that there is of its timeline. */
  async stretch(stretch: WalStretch, { isWhole }: { readonly isWhole: boolean }): Promise<TimelineEnd> {
    const { wal, call, journal, level, repository } = this.#options;
    const place = `${repository.name} ${wal.systemId} ${stretch.timeline} ${stretch.first}`;
    const listing = await listWal(wal, stretch, journal.mark(place), call);
    for (const { key, message, number } of listing.conflicts)
      this.#report.found(key, 'conflict', message, this.#ofSegment(stretch, number));
    const end = endOf(listing, stretch);
    const holes = isWhole ? this.#missingIn(listing, stretch) : missingFrom(listing, stretch);
    if (isWhole) {
      this.#tail(listing, stretch);
      const isCut = listing.last !== undefined && holes.some(({ first }) => first === (listing.last ?? 0n) + 1n);
      if (!isCut) this.#sinceBefore(end, stretch);
    }
    if (level === 'chain') {
      this.#report.lookedAll(listing.objects, listing.bytes);
    } else await readWal(this.#report, { ...this.#options, stretch, listing, closed: this.#closed });
    // Last, so that what was on its way has had time to come.
    for (const run of holes) if (!(await this.#hasCome(run, listing, stretch))) this.#hole(run, stretch);
    return {
      timeline: stretch.timeline,
      segments: listing.segments,
      ...(listing.first === undefined ? {} : { first: this.#name(stretch, listing.first) }),
      ...this.#latest(end, stretch),
    };
  }

  /** The holes of a timeline, with those before its first and behind its last segment. */
  #missingIn(listing: WalListing, { timeline, segmentSize }: WalStretch): readonly SegmentRun[] {
    const expected = this.#options.impact.expected(timeline, segmentSize);
    const { first, last, tail, holes } = listing;
    const [from, to] = [expected.first, expected.last];
    if (first === undefined || last === undefined) {
      if (from === undefined) return [];
      // A timeline that was only just begun: slices, or nothing yet.
      const until = to ?? (tail !== undefined && tail.number > from ? tail.number - 1n : undefined);
      return until === undefined || until < from ? [] : [{ timeline, first: from, last: until }];
    }
    const open = tail !== undefined && tail.number > last + 1n ? tail.number - 1n : undefined;
    const until = to !== undefined && to > last && (open === undefined || to > open) ? to : open;
    return [
      ...(from !== undefined && from < first ? [{ timeline, first: from, last: first - 1n }] : []),
      ...holes,
      ...(until !== undefined && until > last ? [{ timeline, first: last + 1n, last: until }] : []),
    ];
  }

  /** Whether a hole near the end is none any more, or by and by: of the files that are archived at once the second may come first. */
  async #hasCome(run: SegmentRun, { last }: WalListing, stretch: WalStretch): Promise<boolean> {
    const { wal, call, patience } = this.#options;
    if (last === undefined || run.last + NEAR < last || run.last - run.first >= NEAR) return false;
    const names = Array.from({ length: Number(run.last - run.first + 1n) }, (_, at) =>
      this.#name(stretch, run.first + BigInt(at)),
    );
    for (const deadline = performance.now() + patience; ; await sleep(POLL)) {
      throwIfAborted(call.signal, 'the verification');
      const found = await Promise.all(names.map((name) => wal.find(name, call)));
      if (found.every((object) => object !== undefined)) {
        this.#report.note(`${names.join(', ')} came while the WAL was verified, and was not read`);
        return true;
      }
      if (performance.now() >= deadline) return false;
    }
  }

  #hole(run: SegmentRun, stretch: WalStretch): void {
    const { impact, gaps } = this.#options;
    const { segmentSize, timeline } = stretch;
    const lost = impact.ofRun(run, segmentSize);
    const count = Number(run.last - run.first + 1n);
    const first = this.#name(stretch, run.first);
    const names = count === 1 ? `${first} is` : `${first} to ${this.#name(stretch, run.last)} (${count} segments) are`;
    if (lost.backups.length === 0) {
      const start = run.first * BigInt(segmentSize);
      const end = (run.last + 1n) * BigInt(segmentSize);
      const gap = gaps.find(
        (one) => one.timeline === timeline && one.from <= start && (end <= one.to || one.toTimeline !== timeline),
      );
      if (gap !== undefined)
        return this.#report.note(`${names} not there: lost, and on record as the gap ${describeGap(gap)}`);
      if (lost.wal === undefined) return this.#report.note(`${names} not there, and needed for no backup that is`);
      if (impact.isBetweenBackups(run))
        return this.#report.note(
          `${names} not there: it lies between the WAL of two backups, and may be left out on purpose`,
        );
    }
    const more = count === 1 ? {} : { stretch: { last: this.#name(stretch, run.last), segmentSize } };
    this.#report.found(this.#nameKey(first), 'missing', `${names} not there`, lost, more);
  }

  /** Slices of the last segment that do not touch. */
  #tail({ tail }: WalListing, stretch: WalStretch): void {
    if (tail === undefined || tail.reach === tail.furthest) return;
    const { number, folder, reach, furthest } = tail;
    const lost = this.#options.impact.ofTail(stretch.timeline, number, stretch.segmentSize, reach);
    const text = `${this.#name(stretch, number)}: its slices go up to byte ${furthest}, but none has the bytes from ${reach} on`;
    const from = reach.toString(16).toUpperCase().padStart(8, '0');
    this.#report.found(`${folder}${from}-`, 'missing', text, lost);
  }

  /** The end of a listing says nothing of what came behind it: the last verification does. */
  #sinceBefore(end: bigint | undefined, stretch: WalStretch): void {
    const { timeline, segmentSize } = stretch;
    const before = this.#options.before.find((one) => one.timeline === timeline)?.end;
    if (before === undefined || parseLsn(before) <= (end ?? 0n)) return;
    if (end === undefined) {
      const number = lastSegmentNumber(parseLsn(before), segmentSize);
      const lost = this.#options.impact.ofTail(timeline, number, segmentSize, 0);
      const text = `timeline ${timeline} had WAL up to ${before} when it was last verified, and has none now`;
      if (lost.wal === undefined) return this.#report.note(text);
      const from = this.#options.impact.expected(timeline, segmentSize).first ?? number;
      return this.#report.found(
        this.#nameKey(this.#name(stretch, from)),
        'missing',
        text,
        this.#options.impact.ofRun({ timeline, first: from, last: number }, segmentSize),
      );
    }
    const number = segmentNumber(end, segmentSize);
    const offset = Number(end % BigInt(segmentSize));
    const last = lastSegmentNumber(parseLsn(before), segmentSize);
    const name = this.#name(stretch, number);
    const names = last > number ? `${name} to ${this.#name(stretch, last)}` : name;
    const lost = this.#options.impact.ofTail(timeline, number, segmentSize, offset);
    const text = `${names}: the WAL ends at ${formatLsn(end)}, but went up to ${before} when it was last verified`;
    const more = last > number ? { stretch: { last: this.#name(stretch, last), segmentSize } } : {};
    this.#report.found(this.#nameKey(name), 'missing', text, lost, more);
  }

  /** What was there once and is not any more stays a finding until more has come, or it is back. */
  #latest(end: bigint | undefined, { timeline }: WalStretch): Pick<TimelineEnd, 'end'> {
    const before = this.#options.before.find((one) => one.timeline === timeline)?.end;
    if (before !== undefined && parseLsn(before) > (end ?? 0n)) return { end: before };
    return end === undefined ? {} : { end: formatLsn(end) };
  }

  #ofSegment({ timeline, segmentSize }: WalStretch, number: bigint): Unrestorable {
    return this.#options.impact.ofSegment(timeline, number, segmentSize);
  }

  #name({ timeline, segmentSize }: WalStretch, number: bigint): string {
    return segmentName(timeline, number, segmentSize);
  }

  /** The key of a WAL file up to where its digest would begin. */
  #nameKey(name: string): string {
    const { repository, wal } = this.#options;
    const file = parseWalFileName(name);
    if (file === undefined) throw new ArchiveError('INTERNAL', `not the name of a WAL file: ${name}`);
    return `${walPrefix(repository.cluster, wal.systemId)}${walFolder(file)}${name}`;
  }
}

/** What is missing of a stretch with both ends. */
function missingFrom({ first, last, holes }: WalListing, stretch: WalStretch): readonly SegmentRun[] {
  const { timeline } = stretch;
  const to = stretch.last ?? last ?? stretch.first;
  if (first === undefined || last === undefined) return [{ timeline, first: stretch.first, last: to }];
  return [
    ...(first > stretch.first ? [{ timeline, first: stretch.first, last: first - 1n }] : []),
    ...holes,
    ...(last < to ? [{ timeline, first: last + 1n, last: to }] : []),
  ];
}

/** Where what is archived of a timeline ends, slices of the segment behind the last one included. */
function endOf({ last, tail }: WalListing, { segmentSize }: WalStretch): bigint | undefined {
  const whole = last === undefined ? undefined : (last + 1n) * BigInt(segmentSize);
  if (tail === undefined || tail.reach === 0) return whole;
  return tail.number * BigInt(segmentSize) + BigInt(tail.reach);
}
