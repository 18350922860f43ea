/** The story of one repository, what it must hold by that story, and the checks of what it holds. */
import { MemoryStorage } from '@pgark/storage-memory';
import { createHash } from 'node:crypto';
import type { Storage } from '../../src/contracts/storage.ts';
import { historyName, parseWalFileName } from '../../src/postgres/wal-file.ts';
import { holdLease, type HeldLease } from '../../src/repository/held-lease.ts';
import { backupsPrefix, newBackupId, tailKey, walKey, walPrefix } from '../../src/repository/layout.ts';
import { LEASE_MARGIN, LEASE_TIME } from '../../src/repository/lease.ts';
import { putBytes } from '../../src/repository/objects.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { isArchiveError } from '../../src/contracts/errors.ts';
import { runExpire } from '../../src/retention/expire.ts';
import { GRACE, runGarbage } from '../../src/retention/gc.ts';
import { changePin } from '../../src/retention/pin.ts';
import type { RetentionPolicy } from '../../src/retention/policy.ts';
import { heldBy, isAccounted, isOnLiving, type Held } from './held.ts';
import { Died, dyingStorage } from './dying-storage.ts';
import { parentsOf, segmentKey, firstNeeded, type Backup, type Step, type System, type Timeline } from './story.ts';
import { Clock, DAY, HOUR, lsnIn, putBackup, repositoryOn, walName } from './small-archive.ts';

const BASE = { minimum: 1, proven: 1, wal: 'all', labels: [] } as const;
const POLICIES: readonly (RetentionPolicy | undefined)[] = [
  { ...BASE, keep: 1 },
  { ...BASE, keep: 3 },
  { ...BASE, window: 2 * DAY },
  { ...BASE, window: 5 * DAY, keep: 2 },
  { ...BASE, daily: 3, keep: 1 },
  { ...BASE, keep: 1, daily: 4, wal: 'consistent' },
  { ...BASE, window: DAY, weekly: 3, wal: 'consistent' },
  undefined,
];

export class RetentionModel {
  readonly counts = new Map<string, number>();
  steps = 0;
  readonly #clock = new Clock();
  readonly #storage: MemoryStorage;
  readonly #repository: Repository;
  readonly #backups: Backup[] = [];
  readonly #systems: System[] = [];
  readonly #leases: { readonly lease: HeldLease; readonly backup: Backup; readonly until: number }[] = [];
  #lockedUntil = 0;

  private constructor() {
    this.#storage = new MemoryStorage({ now: this.#clock.now });
    this.#repository = repositoryOn(this.#storage);
  }

  static async begin(): Promise<RetentionModel> {
    const model = new RetentionModel();
    await model.#repository.open({ create: true });
    model.#newSystem();
    return model;
  }

  async take(step: Step): Promise<void> {
    this.steps += 1;
    this.#clock.time += 1000;
    const { first, second } = step;
    switch (step.name) {
      case 'tick':
        this.#clock.time += (first % 48) * HOUR;
        return;
      case 'wal':
        for (let count = 0; count <= first % 3; count++) await this.#archive(this.#system.living);
        return;
      case 'backup':
        return this.#backup(undefined);
      case 'incremental':
        return this.#backup(await this.#pick(first, (one) => one.system === this.#system && isOnLiving(one)));
      case 'abandon':
        await putBackup(this.#repository, { ...this.#place(), time: this.#clock.time, commit: false });
        return;
      case 'slices':
        return this.#slices(first % 2 === 0);
      case 'promote':
        return this.#promote();
      case 'stray':
        return this.#stray(first, second);
      case 'upgrade':
        if (first % 3 === 0) this.#newSystem();
        return;
      case 'pin':
        return this.#pin(first, second);
      case 'unpin':
        return this.#unpin(first);
      case 'prove':
        return this.#prove(first);
      case 'lease':
        return this.#lease(first, second);
      case 'release': {
        const [held] = this.#leases.splice(first % Math.max(this.#leases.length, 1), 1);
        held?.backup.leases.delete(held.lease);
        await held?.lease.release();
        return;
      }
      case 'lock':
        // From now on new backups are locked for some days.
        this.#lockedUntil = first % 2 === 0 ? this.#clock.time + (second % 20) * DAY : 0;
        return;
      case 'expire':
        return this.#expire(step);
      case 'gc':
        return this.#gc(step);
    }
  }

  get #system(): System {
    const system = this.#systems.at(-1);
    if (system === undefined) throw new Error('there is no system');
    return system;
  }

  #count(name: string, by = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + by);
  }

  #newSystem(): void {
    const timeline: Timeline = { number: 1, from: undefined, head: 1, archived: new Set(), touched: this.#clock.time };
    // Neither order nor size of the numbers says anything.
    const id = String(7_000_000 + ((this.#systems.length * 7919 + 13) % 1000));
    this.#systems.push({ id, timelines: [timeline], living: timeline });
    if (this.#systems.length > 1) this.#count('upgraded');
  }

  async #archive(timeline: Timeline, system = this.#system): Promise<void> {
    await this.#putWal(system, walName(timeline.number, timeline.head), `${timeline.number}/${timeline.head}`);
    timeline.archived.add(timeline.head);
    timeline.head += 1;
    timeline.touched = this.#clock.time;
  }

  async #putWal(system: System, name: string, text: string): Promise<void> {
    const file = parseWalFileName(name);
    if (file === undefined) throw new Error(name);
    const bytes = Buffer.from(text);
    const digest = createHash('sha256').update(bytes).digest('hex').slice(0, 32);
    await putBytes(this.#storage, walPrefix('main', system.id) + walKey(file, digest, []), bytes);
  }

  #place(timeline = this.#system.living): {
    systemId: string;
    timeline: number;
    from: number;
    to: number;
    parts: number;
  } {
    return {
      systemId: this.#system.id,
      timeline: timeline.number,
      from: timeline.head,
      to: timeline.head + 1,
      parts: 1,
    };
  }

  async #backup(parent: Backup | undefined, timeline = this.#system.living): Promise<void> {
    const place = this.#place(timeline);
    await this.#archive(timeline);
    await this.#archive(timeline);
    const { time } = this.#clock;
    const lock = this.#lockedUntil > time ? { retainUntil: new Date(this.#lockedUntil) } : {};
    const id = newBackupId(new Date(time));
    await putBackup(this.#repository, { ...place, ...lock, id, time, parent: parent?.id });
    const { from, to } = place;
    this.#backups.push({
      id,
      system: this.#system,
      timeline,
      from,
      to,
      time,
      parent,
      pinned: undefined,
      leases: new Set(),
    });
    if (parent !== undefined) this.#count('incrementals');
  }

  async #slices(completed: boolean): Promise<void> {
    const { living, id } = this.#system;
    const file = parseWalFileName(walName(living.number, living.head));
    if (file === undefined) return;
    const digest = createHash('sha256').update(`${this.#clock.time}`).digest('hex').slice(0, 32);
    const key = walPrefix('main', id) + tailKey(file, { from: 0, to: 5, digest, codecs: [] });
    await putBytes(this.#storage, key, Buffer.from('slice'));
    if (completed) await this.#archive(living);
  }

  async #promote(): Promise<void> {
    const system = this.#system;
    const from = { timeline: system.living, segment: system.living.head };
    const number = Math.max(...system.timelines.map((one) => one.number)) + 1;
    const timeline: Timeline = { number, from, head: from.segment, archived: new Set(), touched: this.#clock.time };
    const lines: string[] = [];
    for (let at: Timeline | undefined = timeline; at?.from !== undefined; at = at.from.timeline)
      lines.unshift(`${at.from.timeline.number}\t${lsnIn(at.from.segment, 0x10)}\tpromoted\n`);
    system.timelines.push(timeline);
    system.living = timeline;
    await this.#putWal(system, historyName(number), lines.join(''));
    this.#count('promoted');
  }

  /** A former primary goes on. */
  async #stray(first: number, second: number): Promise<void> {
    const dead = this.#system.timelines.filter((one) => one !== this.#system.living);
    const timeline = dead[first % Math.max(dead.length, 1)];
    if (timeline === undefined) return;
    if (second % 3 === 0) await this.#backup(undefined, timeline);
    else await this.#archive(timeline);
  }

  async #pin(first: number, second: number): Promise<void> {
    const backup = await this.#pick(first);
    if (backup === undefined) return;
    const until = second % 2 === 0 ? this.#clock.time + (second % 7) * DAY + 1 : undefined;
    const change = { kind: 'pin', reason: 'audit', ...(until === undefined ? {} : { until }) } as const;
    await changePin(this.#repository, { systemId: backup.system.id, id: backup.id }, change, {
      time: this.#clock.time,
    });
    backup.pinned = until ?? Infinity;
  }

  async #unpin(first: number): Promise<void> {
    const backup = await this.#pick(first, ({ pinned }) => pinned !== undefined);
    if (backup === undefined) return;
    const place = { systemId: backup.system.id, id: backup.id };
    await changePin(this.#repository, place, { kind: 'unpin' }, { time: this.#clock.time });
    backup.pinned = undefined;
  }

  async #prove(first: number): Promise<void> {
    const backup = await this.#pick(first);
    if (backup === undefined) return;
    const fact = { kind: 'drill', time: this.#clock.time, data: { outcome: 'proven' } };
    await this.#repository.facts(backup.system.id).add(backup.id, fact);
  }

  /** A restore or a copy begins, on a host whose clock is off by up to an hour. */
  async #lease(first: number, second: number): Promise<void> {
    const backup = await this.#pick(first);
    if (backup === undefined) return;
    const skew = ((second % 3) - 1) * HOUR;
    const lease = await holdLease(this.#repository, backup.system.id, {
      command: 'restore',
      scope: { backups: [backup.id], wal: [{ timeline: backup.timeline.number, from: lsnIn(backup.from) }] },
      now: () => this.#clock.time + skew,
    });
    backup.leases.add(lease);
    this.#leases.push({ lease, backup, until: this.#clock.time + LEASE_TIME });
    this.#count('leased');
  }

  /** One of the backups that are there. */
  async #pick(at: number, fits: (backup: Backup) => boolean = () => true): Promise<Backup | undefined> {
    const { complete } = await heldBy(this.#storage);
    const there = this.#backups.filter((backup) => complete.has(backup.id) && fits(backup));
    return there[at % Math.max(there.length, 1)];
  }

  async #expire({ first, second, third }: Step): Promise<void> {
    const policy = POLICIES[first % POLICIES.length];
    // The clock of the host that expires may be far ahead, or behind.
    const ahead = [0, 0, 0, 100 * DAY, -DAY][second % 5] ?? 0;
    const before = await heldBy(this.#storage);
    const must = this.#mustStay(policy, before);
    let chosen: Backup | undefined;
    const dying = this.#dying(third);
    const begun = await heldBy(this.#storage);
    try {
      const result = await runExpire(repositoryOn(dying.storage), {
        policy,
        now: () => this.#clock.time + ahead,
        onPlan: async () => {
          if (second % 4 !== 0) return;
          // A restore begins behind the plan.
          await this.#lease(second, first);
          chosen = this.#leases.at(-1)?.backup;
          this.#count('restores');
        },
      });
      this.#count('removed', result.removed.length);
      if (result.retained.length > 0) this.#count('retained');
      this.#count(
        'removedWal',
        [...begun.keys].filter((key) => key.includes('/wal/')).length -
          [...(await heldBy(this.#storage)).keys].filter((key) => key.includes('/wal/')).length,
      );
    } catch (error) {
      if (!(error instanceof Died) && !isArchiveError(error, 'RETENTION_BUSY')) throw error;
      if (error instanceof Died) this.#count('crashed');
    }
    const after = await heldBy(this.#storage);
    this.#checkWhole(after);
    this.#checkStays(must, before, after);
    if (chosen === undefined) return;
    // What is marked may be so for the moment; that all of it is there counts.
    for (const backup of [chosen, ...parentsOf(chosen)]) this.#checkObjects(backup, after);
    this.#checkStays({ backups: new Set(), from: [chosen] }, before, after);
  }

  async #gc({ second, third }: Step): Promise<void> {
    const before = await heldBy(this.#storage);
    const dying = this.#dying(third);
    try {
      const { objects } = await runGarbage(repositoryOn(dying.storage), {
        now: () => this.#clock.time + ([0, 100 * DAY, -DAY][second % 3] ?? 0),
      });
      this.#count('swept', objects);
    } catch (error) {
      if (!(error instanceof Died) && !isArchiveError(error, 'RETENTION_BUSY')) throw error;
      if (error instanceof Died) this.#count('crashedGc');
    }
    const after = await heldBy(this.#storage);
    this.#checkWhole(after);
    for (const id of before.complete) if (!after.complete.has(id)) throw new Error(`gc removed backup ${id}`);
    for (const key of before.keys)
      if (!after.keys.has(key) && /\/wal\//.test(key) && !key.includes('.tail/')) throw new Error(`gc removed ${key}`);
  }

  #dying(at: number): { readonly storage: Storage } {
    // Half of the runs die, at any of their calls.
    if (at % 2 === 0) return { storage: this.#storage };
    const kinds = ['before', 'after', { half: 1 }] as const;
    return dyingStorage(this.#storage, 1 + ((at >> 1) % 60), kinds[at % 3]);
  }

  /** What a policy promises of the present system, and what pins and leases hold anywhere. */
  #mustStay(policy: RetentionPolicy | undefined, { complete }: Held): MustStay {
    const now = this.#clock.time;
    const there = this.#backups.filter(({ id }) => complete.has(id));
    if (policy === undefined) return { backups: new Set(there), from: there };
    const line = there
      .filter((backup) => backup.system === this.#system && isOnLiving(backup))
      .sort((one, other) => one.to - other.to);
    // A line that has been silent for a week, while backups were taken elsewhere, may look like one that has ended.
    const { touched } = this.#system.living;
    const elsewhere = there.some((backup) => !line.includes(backup) && backup.time > touched);
    const isPlain = now - touched < 7 * DAY || !elsewhere;
    const promised = new Set<Backup>(line.slice(isPlain ? -Math.max(policy.keep ?? 0, policy.minimum) : -1));
    if (isPlain && policy.window !== undefined) {
      const start = now - policy.window;
      for (const backup of line) if (backup.time >= start) promised.add(backup);
      const anchor = line.findLast(({ time }) => time <= start);
      if (anchor !== undefined) promised.add(anchor);
    }
    const held = there.filter((backup) => this.#leases.some((lease) => lease.backup === backup && lease.until > now));
    const pinned = there.filter((backup) => (backup.pinned ?? 0) > now);
    const from = [...promised, ...held];
    const backups = new Set([...from, ...pinned]);
    for (const backup of [from, pinned].flat()) for (const parent of parentsOf(backup)) backups.add(parent);
    // Of each system that had any, one at least.
    const systems = new Set(there.map(({ system }) => system));
    return { backups, from, systems };
  }

  #checkStays({ backups, from, systems = new Set() }: MustStay, before: Held, { keys, complete }: Held): void {
    for (const { id } of backups) if (!complete.has(id)) throw new Error(`backup ${id} had to stay`);
    for (const system of systems)
      if (!this.#backups.some((backup) => backup.system === system && complete.has(backup.id)))
        throw new Error(`the last backup of system ${system.id} is gone`);
    for (const backup of from)
      for (const timeline of backup.system.timelines) {
        const first = firstNeeded(backup, timeline);
        if (first === undefined) continue;
        for (const segment of timeline.archived)
          // What an earlier policy has let go is not asked for.
          if (segment >= first && before.keys.has(segmentKey(backup.system, timeline, segment)))
            this.#checkSegment(keys, backup, timeline, segment);
      }
  }

  /** What a listing takes for a backup has all of its objects, its parents and its own WAL. */
  #checkWhole({ keys, complete }: Held): void {
    for (const backup of this.#backups) {
      const { id, timeline, from, to, parent } = backup;
      if (!complete.has(id)) continue;
      this.#checkObjects(backup, { keys });
      if (parent !== undefined && !complete.has(parent.id))
        throw new Error(`backup ${id} lacks its parent ${parent.id}`);
      for (let segment = from; segment <= to; segment++) this.#checkSegment(keys, backup, timeline, segment);
    }
  }

  #checkObjects({ id, system }: Backup, { keys }: Pick<Held, 'keys'>): void {
    for (const name of ['base/0000.tar', 'backup_manifest', 'files.json', 'backup.json'])
      if (!keys.has(`${backupsPrefix('main', system.id)}${id}/${name}`)) throw new Error(`backup ${id} lacks ${name}`);
  }

  #checkSegment(keys: ReadonlySet<string>, { id, system }: Backup, timeline: Timeline, segment: number): void {
    const key = segmentKey(system, timeline, segment);
    if (!keys.has(key)) throw new Error(`backup ${id} needs ${key}, which is gone`);
  }

  /** Everything comes to rest: then each object is accounted for by a backup that is there. */
  async end(): Promise<void> {
    for (const { lease } of this.#leases.splice(0)) await lease.release();
    this.#clock.time += GRACE + LEASE_TIME + LEASE_MARGIN + 30 * DAY;
    const now = this.#clock.now;
    await runExpire(this.#repository, { policy: POLICIES[0], now });
    await runGarbage(this.#repository, { now });
    const held = await heldBy(this.#storage);
    const story = { backups: this.#backups, systems: this.#systems };
    this.#checkWhole(held);
    for (const key of held.keys) if (!isAccounted(key, held, story)) throw new Error(`nothing accounts for ${key}`);
  }
}

interface MustStay {
  readonly backups: ReadonlySet<Backup>;
  /** Those of which every moment since was promised. */
  readonly from: readonly Backup[];
  readonly systems?: ReadonlySet<System>;
}
