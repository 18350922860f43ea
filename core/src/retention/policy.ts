/** How long backups are kept. */
import type { KeepConfig, RetentionConfig } from '../config/config.ts';

/** Rules of which each keeps what it names; what none names goes. Without any of them nothing goes. */
export type KeepRules = KeepConfig;

/** The section `retention` of the config: see there what each rule means. Periods are those of UTC, weeks begin on Mondays. */
export type RetentionPolicy = RetentionConfig;

/** The rules that hold for a label, and their name for people and for telling them apart. */
export function rulesFor(
  policy: RetentionPolicy,
  label: string,
): { readonly name: string | undefined; readonly rules: KeepRules } {
  const own = policy.labels.find((rule) => fits(rule.label, label));
  return own === undefined ? { name: undefined, rules: policy } : { name: own.label, rules: own };
}

/** Whether there is a rule that could let a backup go. */
export function hasLimit(rules: KeepRules): boolean {
  return rules.window !== undefined || rules.keep !== undefined || CALENDAR.some((name) => rules[name] !== undefined);
}

function fits(pattern: string, label: string): boolean {
  const source = pattern
    .split('*')
    .map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`))
    .join('.*');
  return new RegExp(`^${source}$`, 's').test(label);
}

export type CalendarRule = 'hourly' | 'daily' | 'weekly' | 'monthly' | 'yearly';

export const CALENDAR: readonly CalendarRule[] = ['hourly', 'daily', 'weekly', 'monthly', 'yearly'];

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** 5 January 1970 was a Monday. */
const FIRST_MONDAY = 4 * DAY;

/** The number of the period, counted on without a gap, in which a moment lies. */
export function periodOf(rule: CalendarRule, time: number): number {
  const date = new Date(time);
  switch (rule) {
    case 'hourly':
      return Math.floor(time / HOUR);
    case 'daily':
      return Math.floor(time / DAY);
    case 'weekly':
      return Math.floor((time - FIRST_MONDAY) / (7 * DAY));
    case 'monthly':
      return date.getUTCFullYear() * 12 + date.getUTCMonth();
    case 'yearly':
      return date.getUTCFullYear();
  }
}

/** How people call the period of a moment: `2026-11-21`. */
export function periodName(rule: CalendarRule, time: number): string {
  const text = new Date(time).toISOString();
  switch (rule) {
    case 'hourly':
      return `the hour ${text.slice(0, 13).replace('T', ' ')}:00`;
    case 'daily':
      return text.slice(0, 10);
    case 'weekly':
      return `the week of ${new Date(periodOf('weekly', time) * 7 * DAY + FIRST_MONDAY).toISOString().slice(0, 10)}`;
    case 'monthly':
      return text.slice(0, 7);
    case 'yearly':
      return text.slice(0, 4);
  }
}
