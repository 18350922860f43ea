import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { HookConfig } from '../config/config.ts';
import { ArchiveError } from '../contracts/errors.ts';
import { exampleEvent } from '../contracts/event-table.ts';
import type { ArchiveEvent, EventName } from '../contracts/hook.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { deliver } from '../hooks/deliver.ts';
import { errorOf } from './telling.ts';
import type { Outcome } from './call.ts';
import type { Workplace } from './workplace.ts';

export interface TryHooksCall extends CallOptions {
  /** Names of hooks of the config. Default, or empty: all. */
  readonly hooks?: readonly string[];
  /** Of which event an example is told. One that opens a condition is followed by its end. Default `backup.finished`. */
  readonly event?: EventName;
  /** Told of each hook when it is done. */
  readonly onHook?: (tried: TriedHook) => void;
}

/** What came of one hook. */
export interface TriedHook {
  readonly name: string;
  /** Its plugin. */
  readonly use: string;
  readonly milliseconds: number;
  /** Why it was not told. */
  readonly error: ArchiveError | undefined;
}

export interface HooksTried extends Outcome {
  readonly hooks: readonly TriedHook[];
}

/** See `Archive.tryHooks`. */
export async function tryHooks(at: Workplace, call: TryHooksCall): Promise<HooksTried> {
  const { config } = at;
  const sections = wanted(config.hooks, call.hooks ?? []);
  const events = examplesOf(call.event ?? 'backup.finished', config.cluster);
  const hooks: TriedHook[] = [];
  for (const section of sections) {
    const begun = performance.now();
    const error = await tryOne(section, events, at);
    const tried = { name: section.name, use: section.hook.use, milliseconds: performance.now() - begun, error };
    hooks.push(tried);
    call.onHook?.(tried);
  }
  return { hooks, failure: failureOf(hooks) };
}

function failureOf(hooks: readonly TriedHook[]): ArchiveError | undefined {
  const failed = hooks.flatMap(({ name, error }) => (error === undefined ? [] : [{ name, error }]));
  const [first] = failed;
  if (first === undefined) return undefined;
  const names = failed.map(({ name }) => name).join(', ');
  return new ArchiveError('HOOK_FAILED', `${failed.length} of ${hooks.length} hooks were not told (${names})`, {
    hint: first.error.hint,
  });
}

function wanted(sections: readonly HookConfig[], names: readonly string[]): readonly HookConfig[] {
  if (sections.length === 0)
    throw new ArchiveError('USAGE', 'the config has no hooks', { hint: 'Add a section under "hooks".' });
  for (const name of names) {
    if (sections.some((section) => section.name === name)) continue;
    throw new ArchiveError('USAGE', `the config has no hook "${name}"`, {
      hint: `It has: ${sections.map((section) => section.name).join(', ')}.`,
    });
  }
  return names.length === 0 ? sections : sections.filter(({ name }) => names.includes(name));
}

/** That it is a trial stands in front, and the condition is none of the archive: closing it must close nothing that is open. */
function examplesOf(name: EventName, cluster: string): readonly ArchiveEvent[] {
  const example = exampleEvent(name);
  const trial = (change: Partial<ArchiveEvent>): ArchiveEvent => ({
    ...example,
    id: randomUUID(),
    time: Date.now(),
    cluster,
    host: hostname(),
    summary: `this is a test: ${example.summary}`,
    ...change,
  });
  if (example.condition?.state !== 'open')
    return [trial(example.condition === undefined ? {} : { condition: { key: 'test', state: 'closed' } })];
  return [
    trial({ condition: { key: 'test', state: 'open' } }),
    trial({ condition: { key: 'test', state: 'closed' }, severity: 'info', summary: 'the test is over' }),
  ];
}

async function tryOne(
  { hook: section, timeout }: HookConfig,
  events: readonly ArchiveEvent[],
  { registry, signal }: Workplace,
): Promise<ArchiveError | undefined> {
  try {
    const hook = await registry.createHook(section);
    try {
      for (const event of events) await deliver(hook, event, { timeout, signal });
    } finally {
      await hook.close();
    }
    return undefined;
  } catch (error) {
    if (signal.aborted) throw error;
    return errorOf(error);
  }
}
