import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EVENTS } from '../contracts/event-table.ts';
import { errnoOf } from '../contracts/errors.ts';
import type { ArchiveEvent, Severity } from '../contracts/hook.ts';
import { makeShared, writeShared } from '../receive/shared-file.ts';

/** One event that waits. Its name sorts in the order in which events came. */
export interface WaitingEvent {
  readonly name: string;
  readonly event: ArchiveEvent;
}

/** What had to go, in epoch milliseconds. */
export interface DroppedEvents {
  readonly count: number;
  readonly since: number;
  readonly until: number;
}

export interface WaitingEventsOptions {
  /** Made when the first event is kept. Without it, all is kept in memory. */
  readonly folder: string | undefined;
  /** Bytes and number of events that are kept at most. */
  readonly bytes: number;
  readonly count: number;
  /** An event cannot be kept in the folder. Said once. */
  readonly onUnkept: (error: unknown) => void;
  /** An event in the folder cannot be read, such as one of another user: it is left to whoever can. Said once each. */
  readonly onUnread: (error: unknown) => void;
}

/** `<microseconds>-<severity>-<id>.json`. */
export const WAITING_NAME: RegExp = /^(\d{17})-([iwc])-[0-9a-f-]{36}\.json$/;
const LETTERS: Readonly<Record<Severity, string>> = { info: 'i', warning: 'w', critical: 'c' };
/** What goes first when there is too much. */
const GOING = ['i', 'w', 'c'];
/** The part that is left when there is too much, so that making room is rare. */
const ROOM = 0.9;
/** Events that are kept in memory: those that are not worth a file, and all where files cannot be written. */
const IN_MEMORY = 500;
const DROPPED = 'dropped';
/** The last moment that a `Date` can hold, and with it the most of a time that can be written. */
const LAST_DATE = 8.64e15;
/** Milliseconds after which a file that is not in place was left by a process that is dead. */
const HALF_WRITTEN = 60_000;

let last = 0;

/** Microseconds that only grow, so that events of one process are in order. */
function now(): number {
  last = Math.max(last + 1, Date.now() * 1000);
  return last;
}

/** Events that come from now on are behind this one, also when the clock was put back since. */
function after(name: string | undefined): void {
  last = Math.max(last, Number(WAITING_NAME.exec(name ?? '')?.[1] ?? 0));
}

/**
 * The events that one hook is still to be told of, as files in a folder, which processes of one host may share. Each is written whole or not at
 * all; a killed process loses none. They are not synced to the disk: a host that loses its power may lose the last seconds.
 *
 * What is too much goes: first what is least severe, and of that the oldest, never the very first, which is being told. It is counted.
 */
export class WaitingEvents {
  readonly #options: WaitingEventsOptions;
  readonly #memory = new Map<string, WaitingEvent>();
  #dropped: DroppedEvents | undefined;
  /** Of the folder, as far as this process knows: looked at anew before anything goes. */
  #held: { count: number; bytes: number } | undefined;
  /** Names of the folder that are still to be given, in order. */
  #listed: string[] = [];
  #unkept = false;
  /** Names of the folder that this process cannot read. */
  readonly #unread = new Set<string>();
  /** Whether a process that was killed may have left a count that was not told. */
  #isFirstLook = true;

  constructor(options: WaitingEventsOptions) {
    this.#options = options;
  }

  /** Keeps an event. Never throws. */
  add(event: ArchiveEvent): void {
    this.#held ??= this.#look();
    const name = `${String(now()).padStart(17, '0')}-${LETTERS[event.severity]}-${event.id}.json`;
    if (isFleeting(event) || !this.#write(name, event)) this.#remember(name, event);
  }

  /** The oldest; undefined when there is none. */
  next(): WaitingEvent | undefined {
    const [inMemory] = this.#memory.values();
    if (this.#listed.length === 0) this.#listed = this.#names();
    for (;;) {
      const [name] = this.#listed;
      if (name === undefined || (inMemory !== undefined && inMemory.name < name)) return inMemory;
      const event = this.#read(name);
      if (event !== undefined) return { name, event };
      this.#listed.shift();
    }
  }

  remove({ name }: WaitingEvent): void {
    if (this.#memory.delete(name)) return;
    if (this.#listed[0] === name) this.#listed.shift();
    this.#unlink(name);
  }

  /** Removes it, and counts it among those that had to go. */
  drop(waiting: WaitingEvent): void {
    this.remove(waiting);
    this.#count(1);
  }

  /** How many wait. */
  get size(): number {
    return this.#memory.size + this.#names().length;
  }

  get isEmpty(): boolean {
    return this.#memory.size === 0 && this.#listed.length === 0 && this.#names().length === 0;
  }

  /** Puts what is made of all that had to go behind what waits; for one process at a time. */
  tellDropped(make: (dropped: DroppedEvents) => ArchiveEvent): void {
    const files = this.#takeDroppedFiles();
    const all = [...files.map(({ dropped }) => dropped), ...(this.#dropped === undefined ? [] : [this.#dropped])];
    if (all.length === 0) return;
    this.add(
      make({
        count: all.reduce((sum, { count }) => sum + count, 0),
        since: Math.min(...all.map(({ since }) => since)),
        until: Math.max(...all.map(({ until }) => until)),
      }),
    );
    // Only now: a process that is killed in between leaves the count to the next one.
    this.#dropped = undefined;
    for (const { path } of files) rmSync(path, { force: true });
  }

  /** Removes what killed processes have left half written; for one process at a time. */
  tidy(): void {
    const { folder } = this.#options;
    if (folder === undefined) return;
    try {
      for (const name of readdirSync(folder)) {
        const path = join(folder, name);
        if (name.endsWith('.tmp') && Date.now() - statSync(path).mtimeMs > HALF_WRITTEN) rmSync(path, { force: true });
      }
    } catch {
      return; // they do no harm
    }
  }

  #remember(name: string, event: ArchiveEvent): void {
    this.#memory.set(name, { name, event });
    if (this.#memory.size <= IN_MEMORY) return;
    const [, ...others] = this.#memory.values();
    const gone =
      others.find((other) => isFleeting(other.event)) ??
      GOING.flatMap((letter) => others.find((other) => LETTERS[other.event.severity] === letter) ?? [])[0];
    if (gone === undefined) return;
    this.#memory.delete(gone.name);
    // Nobody waits for news that were out of date soon.
    if (!isFleeting(gone.event)) this.#count(1);
  }

  #write(name: string, event: ArchiveEvent): boolean {
    const { folder, onUnkept } = this.#options;
    if (folder === undefined) return false;
    try {
      const bytes = Buffer.from(JSON.stringify(event));
      makeShared(folder);
      const temporary = join(folder, `${name}.tmp`);
      writeShared(temporary, bytes);
      renameSync(temporary, join(folder, name));
      if (this.#held !== undefined) {
        this.#held.count += 1;
        this.#held.bytes += bytes.length;
      }
      this.#unkept = false;
    } catch (error) {
      if (!this.#unkept) onUnkept(error);
      this.#unkept = true;
      return false;
    }
    this.#makeRoom();
    return true;
  }

  #makeRoom(): void {
    const { bytes, count } = this.#options;
    if (this.#held === undefined || (this.#held.count <= count && this.#held.bytes <= bytes)) return;
    // Another process may have told most of them.
    const held = (this.#held = this.#look());
    if (held.count <= count && held.bytes <= bytes) return;
    const [, ...names] = this.#names();
    let gone = 0;
    for (const letter of GOING) {
      for (const name of names) {
        if (held.count <= count * ROOM && held.bytes <= bytes * ROOM) break;
        if (WAITING_NAME.exec(name)?.[2] !== letter) continue;
        this.#unlink(name);
        gone += 1;
      }
    }
    this.#count(gone);
  }

  #look(): { count: number; bytes: number } {
    const names = this.#names();
    after(names.at(-1));
    const sizes = names.map((name) => sizeOf(this.#path(name)));
    return { count: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
  }

  #names(): string[] {
    const { folder } = this.#options;
    if (folder === undefined) return [];
    try {
      return readdirSync(folder)
        .filter((name) => WAITING_NAME.test(name) && !this.#unread.has(name))
        .sort();
    } catch {
      return []; // not made yet, or of another user
    }
  }

  /** Undefined when it is gone, cannot be read, or is nothing that can be told. */
  #read(name: string): ArchiveEvent | undefined {
    let text: string;
    try {
      text = readFileSync(this.#path(name), 'utf8');
    } catch (error) {
      // Told by another process.
      if (errnoOf(error) === 'ENOENT') return undefined;
      this.#unread.add(name);
      this.#options.onUnread(error);
      return undefined;
    }
    try {
      const event: unknown = JSON.parse(text);
      if (isEvent(event)) return event;
    } catch {
      // Emptied by a crash of the machine.
    }
    this.#unlink(name);
    this.#count(1);
    return undefined;
  }

  #unlink(name: string): void {
    const path = this.#path(name);
    try {
      const { size } = statSync(path);
      rmSync(path);
      if (this.#held === undefined) return;
      this.#held.count -= 1;
      this.#held.bytes -= size;
    } catch {
      return; // it is gone, or is told again with the same id
    }
  }

  #path(name: string): string {
    return join(this.#options.folder ?? '', name);
  }

  /** A byte in a file for each: several processes may write it at once. */
  #count(gone: number): void {
    if (gone === 0) return;
    const { folder } = this.#options;
    try {
      if (folder === undefined) throw new Error('there is no folder');
      writeFileSync(join(folder, DROPPED), '.'.repeat(gone), { flag: 'a', mode: 0o600 });
    } catch {
      const time = Date.now();
      const { count = 0, since = time } = this.#dropped ?? {};
      this.#dropped = { count: count + gone, since, until: time };
    }
  }

  #takeDroppedFiles(): readonly { readonly path: string; readonly dropped: DroppedEvents }[] {
    const { folder } = this.#options;
    if (folder === undefined) return [];
    const path = join(folder, DROPPED);
    try {
      const isThere = existsSync(path);
      if (!isThere && !this.#isFirstLook) return [];
      this.#isFirstLook = false;
      // Out of the way of those who count on.
      if (isThere) renameSync(path, `${path}.${randomUUID()}`);
      const names = readdirSync(folder).filter((name) => name.startsWith(`${DROPPED}.`));
      return names.map((name) => {
        const { size: count, birthtimeMs, mtimeMs } = statSync(join(folder, name));
        const since = Math.round(Math.min(birthtimeMs, mtimeMs));
        return { path: join(folder, name), dropped: { count, since, until: Math.round(mtimeMs) } };
      });
    } catch {
      return [];
    }
  }
}

/** Whether it has what every hook builds upon: one that fails at it for ever would hold up all that come after. */
function isEvent(value: unknown): value is ArchiveEvent {
  if (typeof value !== 'object' || value === null) return false;
  const { id, name, time, cluster, host, severity, summary, data } = value as Partial<Record<string, unknown>>;
  const isText = [id, name, cluster, host, summary].every((text) => typeof text === 'string');
  const isDated = typeof time === 'number' && Math.abs(time) <= LAST_DATE;
  return isText && isDated && Object.hasOwn(LETTERS, String(severity)) && typeof data === 'object' && data !== null;
}

function isFleeting({ name }: ArchiveEvent): boolean {
  return EVENTS[name]?.isFleeting === true;
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch {
    return 0;
  }
}
