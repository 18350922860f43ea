import { oneLine, type ArchiveEvent } from '@pgark/sdk';

/** What a program needs to find others and to write dates and texts. The rest of this process's environment may hold secrets. */
const ALWAYS = /^(?:PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TZ|LANG|LC_[A-Z]+)$/;

/** Linux takes at most 128 KiB for one variable; nobody reads that much of a line. */
const MOST_VALUE = 8192;

/** One line without controls, so that a script may print it. */
export const variable = (value: unknown): string => oneLine(String(value), MOST_VALUE);

export function inherited(env: NodeJS.ProcessEnv, more: readonly string[]): Record<string, string> {
  const passed = Object.entries(env).filter(([name]) => ALWAYS.test(name) || more.includes(name));
  return Object.fromEntries(passed) as Record<string, string>;
}

/** The event in variables, for scripts that read no JSON. What an event does not have is not set. */
export function eventVariables(event: ArchiveEvent): Record<string, string> {
  const { id, name, time, cluster, host, severity, summary, condition } = event;
  return {
    PGARK_EVENT_ID: variable(id),
    PGARK_EVENT_NAME: variable(name),
    PGARK_EVENT_TIME: new Date(time).toISOString(),
    PGARK_EVENT_CLUSTER: variable(cluster),
    PGARK_EVENT_HOST: variable(host),
    PGARK_EVENT_SEVERITY: severity,
    PGARK_EVENT_SUMMARY: variable(summary),
    ...(condition === undefined
      ? {}
      : { PGARK_EVENT_CONDITION: variable(condition.key), PGARK_EVENT_STATE: condition.state }),
  };
}
