/** Decides which backups stay: a pure function of what a repository holds, the policy and the time. */
import { describeLease } from '../repository/lease.ts';
import { pinOf, provenAt } from './backup-facts.ts';
import type { BackupDecision, KeepReason, RemoveRule } from './decision.ts';
import { isSuperseded, lineagesOf, stopOf, type Lineage } from './lineages.ts';
import { CALENDAR, hasLimit, periodName, periodOf, rulesFor, type RetentionPolicy } from './policy.ts';
import type { BackupState, PlannedRecord, SystemState } from './state.ts';

export interface PlanInput {
  readonly systems: readonly SystemState[];
  /** Undefined: nothing is removed. */
  readonly policy: RetentionPolicy | undefined;
  /** Epoch milliseconds. */
  readonly now: number;
  /** Ids of backups and systems that are to go whatever the rules say. */
  readonly asked?: readonly string[];
}

/** A decision for every backup, systems and backups in their order. Without a policy, or a rule that limits anything, all stay. */
export function planBackups(input: PlanInput): readonly BackupDecision[] {
  return new Planner(input).plan();
}

const DAY = 86_400_000;

class Planner {
  readonly #input: PlanInput;
  readonly #asked: ReadonlySet<string>;
  /** By system and id. */
  readonly #reasons = new Map<BackupState, KeepReason[]>();

  constructor(input: PlanInput) {
    this.#input = input;
    this.#asked = new Set(input.asked);
  }

  plan(): readonly BackupDecision[] {
    const { systems, policy } = this.#input;
    const lineages = systems.flatMap((system) => lineagesOf(system, this.#countable(system)));
    for (const system of systems) {
      const judge = new LineageJudge(this.#input, lineages, (record, reason) => {
        const backup = system.backups.find(({ id }) => id === record.id);
        if (backup !== undefined) this.#keep(backup, reason);
      });
      if (policy !== undefined)
        for (const lineage of lineages) if (lineage.systemId === system.systemId) judge.judge(lineage, policy);
      for (const backup of system.backups) this.#judgeAlone(system, backup);
      this.#keepParents(system);
    }
    return systems.flatMap((system) => system.backups.map((backup) => this.#decide(system, backup)));
  }

  /** Those that can be counted on. */
  #countable(system: SystemState): readonly PlannedRecord[] {
    return system.backups.flatMap((backup) =>
      backup.state === 'complete' && backup.record !== undefined && !this.#isAsked(system, backup)
        ? [backup.record]
        : [],
    );
  }

  #isAsked(system: SystemState, { id }: BackupState): boolean {
    return this.#asked.has(id) || this.#asked.has(system.systemId) || system.retired;
  }

  #keep(backup: BackupState, reason: KeepReason): void {
    const reasons = this.#reasons.get(backup) ?? [];
    if (reasons.some(({ rule, text }) => rule === reason.rule && text === reason.text)) return;
    this.#reasons.set(backup, [...reasons, reason]);
  }

  /** What needs no look at other backups. */
  #judgeAlone(system: SystemState, backup: BackupState): void {
    const { policy, now } = this.#input;
    const asked = this.#isAsked(system, backup);
    const pin = pinOf(backup.facts, now);
    if (pin !== undefined) {
      const until = pin.until === undefined ? '' : ` until ${timeText(pin.until)}`;
      this.#keep(backup, { rule: 'pin', text: `it is pinned${until}: ${pin.reason}` });
    }
    for (const lease of system.leases) {
      const { content } = lease;
      const isUsed = content === undefined || content.backups === 'all' || content.backups.includes(backup.id);
      if (isUsed)
        this.#keep(backup, { rule: 'lease', text: `${describeLease(lease)} uses it until ${timeText(lease.until)}` });
    }
    for (const key of backup.unreadFacts)
      this.#keep(backup, { rule: 'unreadable', text: `the fact ${key} cannot be read, it may be a pin` });
    if (backup.state === 'expired' || asked) return;
    if (backup.state === 'unreadable')
      this.#keep(backup, {
        rule: 'unreadable',
        text: 'its backup.json cannot be read, which is not the same as expired',
      });
    if (backup.state === 'incomplete')
      this.#keep(backup, { rule: 'incomplete', text: 'it has no backup.json: it runs still, or is for "pgark gc"' });
    if (backup.state !== 'complete') return;
    if (policy === undefined) {
      this.#keep(backup, { rule: 'no-policy', text: 'the config has no section "retention"' });
      return;
    }
    const { name, rules } = rulesFor(policy, backup.record?.label ?? '');
    if (hasLimit(rules)) return;
    const whose = name === undefined ? 'the retention section has' : `the rule for the label "${name}" has`;
    this.#keep(backup, { rule: 'no-limit', text: `${whose} no limit` });
  }

  /** A kept incremental backup keeps what it builds on, and nothing else. */
  #keepParents(system: SystemState): void {
    const byId = new Map(system.backups.map((backup) => [backup.id, backup]));
    for (const backup of system.backups) {
      if (backup.state === 'incomplete' || !this.#reasons.has(backup)) continue;
      const seen = new Set([backup]);
      for (let child = backup; ;) {
        const parent = child.record === undefined ? child.broken?.parent : (child.record.parent ?? 'none');
        if (child.record === undefined && child.state === 'unreadable' && parent === undefined) {
          for (const older of system.backups)
            if (older.id < child.id && older.state !== 'incomplete')
              this.#keep(older, { rule: 'parent', text: `backup ${child.id}, which cannot be read, may build on it` });
          break;
        }
        const next = parent === undefined || parent === 'none' ? undefined : byId.get(parent);
        if (next === undefined || seen.has(next)) break;
        this.#keep(next, { rule: 'parent', text: `the incremental backup ${child.id} builds on it` });
        seen.add(next);
        child = next;
      }
    }
  }

  #decide(system: SystemState, backup: BackupState): BackupDecision {
    const { id, state, record, objects, bytes } = backup;
    const { systemId } = system;
    const common = { id, systemId, state, label: record?.label, stopTime: record?.stopTime, objects, bytes };
    const reasons = this.#reasons.get(backup) ?? [];
    // What has lost its record is none any more: to keep the rest of it would help nobody but one who reads it at this moment.
    const isLost = state === 'expired' && record === undefined;
    const holding = isLost ? reasons.filter(({ rule }) => rule === 'lease') : reasons;
    if (holding.length > 0) return { ...common, action: 'keep', reasons: holding };
    return { ...common, action: 'remove', ...this.#removal(system, backup) };
  }

  #removal(system: SystemState, backup: BackupState): { readonly rule: RemoveRule; readonly reason: string } {
    const { policy, now } = this.#input;
    if (backup.state === 'expired') return { rule: 'expired', reason: 'its removal has begun and is finished' };
    if (this.#asked.has(backup.id)) return { rule: 'asked', reason: 'it was named' };
    if (this.#isAsked(system, backup)) return { rule: 'asked', reason: `its system ${system.systemId} was named` };
    const { record } = backup;
    if (record === undefined || policy === undefined) return { rule: 'no-rule', reason: 'nothing keeps it' };
    const { name, rules } = rulesFor(policy, record.label);
    const age = `it stopped ${durationText(now - stopOf(record))} ago`;
    const said: string[] = [];
    if (rules.window !== undefined) said.push(`the window reaches ${durationText(rules.window)} back`);
    if (rules.keep !== undefined) said.push(`is not among the newest ${rules.keep}`);
    const calendar = CALENDAR.filter((rule) => rules[rule] !== undefined);
    if (calendar.length > 0) said.push(`none of the rules ${calendar.join(', ')} chose it`);
    if (record.suspect !== undefined) said.push('it is suspect, and counts for no number');
    const whose = name === undefined ? '' : ` (rules of the label "${name}")`;
    return { rule: 'no-rule', reason: `${age}: ${said.join(', ')}${whose}` };
  }
}

/** The rules that look at the other backups of a line. */
class LineageJudge {
  readonly #input: PlanInput;
  readonly #all: readonly Lineage[];
  readonly #keep: (record: PlannedRecord, reason: KeepReason) => void;
  readonly #proven: ReadonlySet<PlannedRecord>;

  constructor(input: PlanInput, all: readonly Lineage[], keep: (record: PlannedRecord, reason: KeepReason) => void) {
    this.#input = input;
    this.#all = all;
    this.#keep = keep;
    const proven = input.systems.flatMap(({ backups }) => backups.filter(({ facts }) => provenAt(facts) !== undefined));
    this.#proven = new Set(proven.flatMap(({ record }) => (record === undefined ? [] : [record])));
  }

  judge(lineage: Lineage, policy: RetentionPolicy): void {
    const wanted = Math.max(policy.keep ?? 0, policy.minimum, 1);
    const superseded = isSuperseded(lineage, this.#all, { wanted, now: this.#input.now });
    this.#window(lineage, policy, superseded);
    // A line that lives counts what it shares with others too; one that does not only what is its own.
    const counted = superseded ? lineage.own : lineage.onLine;
    this.#calendar(counted, policy);
    if (!superseded) this.#counts(counted, policy);
    this.#last(lineage, superseded);
  }

  #window(lineage: Lineage, policy: RetentionPolicy, superseded: boolean): void {
    const { now } = this.#input;
    for (const record of lineage.own) {
      const { window } = rulesFor(policy, record.label).rules;
      if (window !== undefined && stopOf(record) >= now - window)
        this.#keep(record, { rule: 'window', text: `it stopped in the last ${durationText(window)}` });
    }
    const { window } = policy;
    // Where a line has ended before the window there is no moment of it to restore to.
    if (window === undefined || (superseded && lineage.end < now - window)) return;
    const anchor = whole(lineage.onLine).findLast((record) => stopOf(record) <= now - window);
    if (anchor === undefined) return;
    const text = `it leads to the beginning of the window, ${durationText(window)} ago, and is the newest that does`;
    this.#keep(anchor, { rule: 'anchor', text });
  }

  #calendar(counted: readonly PlannedRecord[], policy: RetentionPolicy): void {
    const { now } = this.#input;
    for (const group of byRules(counted, policy)) {
      const { rules } = rulesFor(policy, group[0]?.label ?? '');
      for (const rule of CALENDAR) {
        const count = rules[rule];
        if (count === undefined) continue;
        const newest = new Map(whole(group).map((record) => [periodOf(rule, stopOf(record)), record]));
        for (const [period, record] of newest) {
          if (period <= periodOf(rule, now) - count) continue;
          this.#keep(record, {
            rule,
            text: `it is the newest of ${periodName(rule, stopOf(record))} (${rule}: ${count})`,
          });
        }
      }
    }
  }

  #counts(counted: readonly PlannedRecord[], policy: RetentionPolicy): void {
    for (const group of byRules(counted, policy)) {
      const { name, rules } = rulesFor(policy, group[0]?.label ?? '');
      if (rules.keep === undefined || rules.keep === 0) continue;
      const of = name === undefined ? '' : ` of the label "${name}"`;
      for (const record of whole(group).slice(-rules.keep))
        this.#keep(record, { rule: 'keep', text: `it is one of the newest ${rules.keep}${of}` });
    }
    if (policy.minimum > 0)
      for (const record of whole(counted).slice(-policy.minimum))
        this.#keep(record, { rule: 'minimum', text: `${policy.minimum} must stay whatever the rules say` });
    const proven = whole(counted).filter((record) => this.#proven.has(record));
    if (policy.proven > 0)
      for (const record of proven.slice(-policy.proven))
        this.#keep(record, { rule: 'proven', text: `it is proven, and ${policy.proven} of these must stay` });
  }

  /** The last backup of a line, and the last that is proven, stay until an operator names them; one that is not suspect before one that is. */
  #last({ own, timeline, systemId }: Lineage, superseded: boolean): void {
    const good = whole(own);
    const line = superseded ? { line: timeline } : {};
    const where = `of timeline ${timeline} of system ${systemId}`;
    const last = good.at(-1) ?? own.at(-1);
    if (last !== undefined) this.#keep(last, { rule: 'last', text: `it is the last backup ${where}`, ...line });
    const proven = good.findLast((record) => this.#proven.has(record));
    if (proven !== undefined)
      this.#keep(proven, { rule: 'last', text: `it is the last proven backup ${where}`, ...line });
  }
}

/** A suspect backup may be the last that there is, and counts for nothing before it is. */
function whole(records: readonly PlannedRecord[]): readonly PlannedRecord[] {
  return records.filter(({ suspect }) => suspect === undefined);
}

function byRules(records: readonly PlannedRecord[], policy: RetentionPolicy): readonly (readonly PlannedRecord[])[] {
  const groups = new Map<string | undefined, PlannedRecord[]>();
  for (const record of records) {
    const { name } = rulesFor(policy, record.label);
    groups.set(name, [...(groups.get(name) ?? []), record]);
  }
  return [...groups.values()];
}

export function timeText(time: number): string {
  return new Date(time)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z');
}

/** Milliseconds as a policy has them: `14d`, `36h`, `5m`. */
export function durationText(milliseconds: number): string {
  const units = [
    [DAY, 'd'],
    [3_600_000, 'h'],
    [60_000, 'm'],
  ] as const;
  const [size, unit] = units.find(([least]) => milliseconds >= least) ?? [1000, 's'];
  return `${Math.floor(milliseconds / size)}${unit}`;
}
