import type { PluginContext } from 'pgark/contracts';

const silent = (): void => undefined;

/**
 * A context for `create` in a plugin's own tests: silent, never cancelled, with the clock of the machine and metrics that nobody reads.
 * What is given takes the place of a part. The folder is the current one.
 */
export function testContext(parts: Partial<PluginContext> = {}): PluginContext {
  return {
    directory: process.cwd(),
    logger: { debug: silent, info: silent, warn: silent, error: silent },
    signal: new AbortController().signal,
    clock: { now: () => Date.now() },
    metrics: { add: silent, set: silent, observe: silent },
    ...parts,
  };
}
