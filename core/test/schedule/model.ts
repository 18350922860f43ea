/** A model of schedulers that come and go, of a clock that is put forward and back, and of work that takes its time; all in memory and at once. */
import type { JobConfig } from '../../src/config/config.ts';
import { blockedBy, decide, type Begin, type Skip } from '../../src/schedule/decide.ts';
import { JobLedger, momentOf } from '../../src/schedule/job-ledger.ts';
import type { JobKind } from '../../src/schedule/run.ts';
import { Random } from '@pgark/sdk/testing';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

interface Recorded {
  readonly job: string;
  readonly planned: number;
  state: 'running' | 'done' | 'interrupted';
}

interface Running {
  readonly record: Recorded;
  readonly kind: JobKind;
  readonly ends: number;
}

const KINDS: readonly JobKind[] = ['backup', 'verify', 'drill', 'expire', 'gc', 'check'];
const EXPRESSIONS = [
  '30 2 * * *',
  '*/20 * * * *',
  '7 * * * *',
  '0 */3 * * *',
  '15 1,2,3 * * *',
  '50 23 * * 6',
  '*/5 * * * *',
];
const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'];

/** What a story came to; `faults` is empty when all is as it should be. */
export interface Story {
  readonly faults: readonly string[];
  readonly runs: number;
  readonly skips: number;
  readonly repeats: number;
  readonly kills: number;
  readonly jumps: number;
}

export interface StoryOptions {
  /** Hours that it lasts. */
  readonly hours: number;
  /** Breaks the scheduler on purpose: what is on record is forgotten with each restart. */
  readonly forgetful?: boolean;
}

export class Model {
  readonly #random: Random;
  readonly #jobs: readonly JobConfig[];
  readonly #records = new Map<string, Recorded>();
  readonly #skipped: { readonly job: string; readonly first: number; readonly last: number }[] = [];
  readonly #seen = new Map<string, number>();
  readonly #faults: string[] = [];
  #ledgers: readonly JobLedger[] | undefined;
  #running: Running[] = [];
  #since = 0;
  #now: number;
  #latest: number;
  #counts = { runs: 0, skips: 0, repeats: 0, kills: 0, jumps: 0 };
  readonly #forgetful: boolean;

  constructor(seed: number, { forgetful = false }: { readonly forgetful?: boolean } = {}) {
    this.#random = new Random(seed);
    this.#forgetful = forgetful;
    const random = this.#random;
    // Days around the changes of the clock in both halves of the world.
    const days = [
      Date.UTC(2026, 2, 7),
      Date.UTC(2026, 2, 28),
      Date.UTC(2026, 9, 24),
      Date.UTC(2026, 9, 31),
      Date.UTC(2026, 3, 4),
    ];
    this.#now = random.pick(days) + random.integer(20 * HOUR);
    this.#latest = this.#now;
    this.#jobs = Array.from({ length: 1 + random.integer(5) }, (_, number): JobConfig => ({
      name: `job${number}`,
      do: random.pick(KINDS),
      at: random.pick(EXPRESSIONS),
      timeZone: random.pick(ZONES),
      jitter: random.integer(2) * random.integer(2 * HOUR),
      ...(random.integer(3) === 0 ? { window: MINUTE + random.integer(6 * HOUR) } : {}),
    }));
  }

  get jobs(): readonly JobConfig[] {
    return this.#jobs;
  }

  tell({ hours }: StoryOptions): Story {
    const end = this.#now + hours * HOUR;
    while (this.#latest < end) this.#step();
    this.#settle();
    this.#checkCovered();
    return { faults: this.#faults, ...this.#counts };
  }

  #step(): void {
    const random = this.#random;
    const chance = random.integer(1000);
    if (this.#ledgers === undefined) {
      this.#pass(random.integer(random.pick([10 * MINUTE, 5 * HOUR, 40 * HOUR])));
      this.#takeOver();
      return;
    }
    if (chance < (this.#running.length > 0 ? 30 : 8)) return this.#kill();
    if (chance >= 990) return this.#jump();
    this.#act(random.integer(20) === 0);
  }

  /** Time goes on to the next moment at which something is to be decided, or not as far. */
  #act(killedMeanwhile: boolean): void {
    const decision = this.#decide();
    if (killedMeanwhile && decision.begins.length + decision.skips.length > 0 && this.#random.integer(10) === 0) {
      // Between two records, or between a claim and the work.
      const skips = decision.skips.slice(0, this.#random.integer(decision.skips.length + 1));
      for (const skip of skips) this.#skip(skip);
      const [first] = skips.length === decision.skips.length ? decision.begins : [];
      if (first !== undefined) this.#begin(first);
      return this.#kill();
    }
    for (const skip of decision.skips) this.#skip(skip);
    for (const begin of decision.begins) this.#begin(begin);
    const ends = this.#running.map(({ ends: at }) => at);
    const next = Math.min(decision.wake ?? Number.POSITIVE_INFINITY, ...ends, this.#now + 12 * HOUR);
    this.#pass(Math.max(1, next - this.#now) + (this.#random.integer(4) === 0 ? this.#random.integer(2000) : 0));
  }

  #decide(): ReturnType<typeof decide> {
    const views = (this.#ledgers ?? []).map((ledger) => ledger.view(this.#now));
    return decide(views, {
      now: this.#now,
      since: this.#since,
      running: new Set(this.#running.map(({ kind }) => kind)),
    });
  }

  #pass(milliseconds: number): void {
    this.#now += milliseconds;
    this.#latest = Math.max(this.#latest, this.#now);
    if (this.#ledgers === undefined) return;
    const over = this.#running.filter(({ ends }) => ends <= this.#now);
    for (const { record } of over) record.state = 'done';
    this.#running = this.#running.filter(({ ends }) => ends > this.#now);
  }

  #kill(): void {
    this.#ledgers = undefined;
    this.#running = [];
    this.#counts.kills += 1;
  }

  #jump(): void {
    const by = this.#random.integer(4 * HOUR) - 2 * HOUR;
    this.#now += by;
    this.#latest = Math.max(this.#latest, this.#now);
    this.#running = this.#running.map((one) => ({ ...one, ends: one.ends + by }));
    this.#counts.jumps += 1;
  }

  #takeOver(): void {
    this.#since = this.#now;
    this.#ledgers = this.#jobs.map((job) => {
      const ledger = new JobLedger(job, 'main', this.#now);
      const seen = this.#seen.get(job.name);
      if (seen === undefined || seen > this.#now) this.#seen.set(job.name, this.#now);
      ledger.begin(this.#seen.get(job.name) ?? this.#now);
      const own = [...this.#records.values()].filter((record) => record.job === job.name);
      const skipped = this.#skipped.filter((skip) => skip.job === job.name).map(({ last }) => last);
      if (this.#forgetful) return ledger;
      ledger.add([...own.map(({ planned }) => planned), ...skipped]);
      for (const record of own) {
        if (record.state === 'running') record.state = 'interrupted';
      }
      const last = own
        .filter(({ planned }) => planned <= this.#now)
        .sort((one, other) => one.planned - other.planned)
        .at(-1);
      if (last?.state === 'interrupted') ledger.interrupted(`${last.planned}`, last.planned);
      return ledger;
    });
  }

  #begin({ view, planned, repeats }: Begin): void {
    const { name, do: kind } = view.job;
    const key = `${name} ${planned}`;
    const what = `${key} (${new Date(planned).toISOString()}) at ${new Date(this.#now).toISOString()}`;
    if (this.#records.has(key)) this.#faults.push(`run twice: ${what}`);
    const before = [...this.#records.values()].filter(
      (record) => record.job === name && momentOf(record.planned) === momentOf(planned),
    );
    if (before.some(({ state }) => state !== 'interrupted')) this.#faults.push(`run again without need: ${what}`);
    if (before.length > 0 !== (repeats !== undefined)) this.#faults.push(`does not say what it repeats: ${what}`);
    const running = new Set(this.#running.map((one) => one.kind));
    if (blockedBy(kind, running) !== undefined) this.#faults.push(`beside another one of its kind: ${what}`);
    if (view.moments.begin(momentOf(planned)) > this.#now) this.#faults.push(`too early: ${what}`);
    if (view.moments.deadline(momentOf(planned)) < this.#now) this.#faults.push(`too late: ${what}`);
    const record: Recorded = { job: name, planned, state: 'running' };
    this.#records.set(key, record);
    this.#ledgers?.find(({ job }) => job.name === name)?.begun(planned);
    this.#running.push({
      record,
      kind,
      ends: this.#now + 1 + this.#random.integer(this.#random.pick([MINUTE, HOUR, 9 * HOUR])),
    });
    this.#counts.runs += 1;
    if (repeats !== undefined) this.#counts.repeats += 1;
  }

  #skip({ view, first, last }: Skip): void {
    const { name } = view.job;
    if (this.#records.has(`${name} ${last}`)) this.#faults.push(`skipped although it was run: ${name} ${last}`);
    this.#skipped.push({ job: name, first, last });
    this.#ledgers?.find(({ job }) => job.name === name)?.add([last]);
    this.#counts.skips += 1;
  }

  /** The end: nothing goes wrong any more until all that was due is dealt with. */
  #settle(): void {
    if (this.#ledgers === undefined) this.#takeOver();
    const end = this.#latest + 24 * HOUR;
    while (this.#now < end) this.#act(false);
    this.#act(false);
    this.#latest -= 12 * HOUR;
  }

  /** Each moment that was due was run, or it is on record that it was not. */
  #checkCovered(): void {
    for (const job of this.#jobs) {
      const { moments } = new JobLedger(job, 'main', 0);
      const from = this.#seen.get(job.name) ?? this.#now;
      const most = this.#latest;
      const runs = new Set(
        [...this.#records.values()].flatMap(({ job: name, planned }) => (name === job.name ? [momentOf(planned)] : [])),
      );
      const skips = this.#skipped.filter((skip) => skip.job === job.name);
      for (let at = moments.next(from); at !== undefined && at < most; at = moments.next(at)) {
        const moment = at;
        if (moments.deadline(moment) >= most || runs.has(moment)) continue;
        if (!skips.some(({ first, last }) => first <= moment && moment <= last))
          this.#faults.push(
            `lost without a word: ${job.name} ${new Date(moment).toISOString()} of "${job.at}" ${job.timeZone}`,
          );
      }
    }
  }
}
