import { describe, expect, test } from 'vitest';
import type { MetricSample, PluginContext } from '../../src/contracts/plugin.ts';
import { pluginContext } from '../../src/plugins/context.ts';
import { Registry } from '../../src/plugins/registry.ts';
import { pluginSource, recordingLogger, section, tree } from './support.ts';

/** The context that a plugin on disk is given. */
async function given(options: Partial<ConstructorParameters<typeof Registry>[0]> = {}): Promise<PluginContext> {
  const directory = tree({ 'p.mjs': pluginSource({ kind: 'hook', name: 'p' }) });
  const registry = new Registry({ directory, env: {}, logger: recordingLogger(), ...options });
  const hook = (await registry.createHook(section('./p.mjs'))) as unknown as { readonly context: PluginContext };
  return hook.context;
}

describe('the context of a plugin', () => {
  test('holds what the contract names, frozen, and nothing of pgark beside it', async () => {
    const inner = Object.assign(recordingLogger(), { insides: { archive: true } });
    const context = await given({ logger: inner, clock: Object.assign({ now: () => 5 }, { insides: true }) });
    expect(Object.keys(context).sort()).toEqual(['clock', 'directory', 'logger', 'metrics', 'signal']);
    expect(Object.keys(context.logger).sort()).toEqual(['debug', 'error', 'info', 'warn']);
    expect(Object.keys(context.metrics).sort()).toEqual(['add', 'observe', 'set']);
    expect(Object.keys(context.clock)).toEqual(['now']);
    for (const part of [context, context.logger, context.metrics, context.clock])
      expect(Object.isFrozen(part)).toBe(true);
  });

  test('its log lines say whose they are; its clock and signal are those of the run', async () => {
    const fields: unknown[] = [];
    const logger = { ...recordingLogger(), warn: (given: unknown) => void fields.push(given) };
    const controller = new AbortController();
    const context = await given({ logger, clock: { now: () => 42 }, signal: controller.signal });
    context.logger.warn({ attempt: 2 }, 'slow');
    expect(fields).toEqual([{ plugin: 'hook p', attempt: 2 }]);
    expect(context.clock.now()).toBe(42);
    expect(context.signal.aborted).toBe(false);
    controller.abort();
    expect(context.signal.aborted).toBe(true);
    expect((await given()).signal.aborted).toBe(false);
  });

  test('what it measures comes with kind and name of the plugin', async () => {
    const samples: MetricSample[] = [];
    const { metrics } = await given({ onMetric: (sample) => samples.push(sample) });
    metrics.add('sent');
    metrics.add('sent', 3, { to: 'a' });
    metrics.set('waiting', -1);
    metrics.observe('send_seconds', 0.5);
    const plugin = { kind: 'hook', name: 'p' };
    expect(samples).toEqual([
      { plugin, type: 'counter', name: 'sent', value: 1, labels: {} },
      { plugin, type: 'counter', name: 'sent', value: 3, labels: { to: 'a' } },
      { plugin, type: 'gauge', name: 'waiting', value: -1, labels: {} },
      { plugin, type: 'histogram', name: 'send_seconds', value: 0.5, labels: {} },
    ]);
  });

  test('H-81 one name, one meaning: what is used in two ways, or is no number, is left out and said once', () => {
    const samples: MetricSample[] = [];
    const logger = recordingLogger();
    const { metrics } = pluginContext('storage', 's', {
      directory: '/',
      logger,
      onMetric: (sample) => samples.push(sample),
    });
    metrics.add('calls');
    metrics.set('calls', 7);
    metrics.set('calls', 8);
    metrics.add('shrinks', -1);
    metrics.observe('unknown', Number.NaN);
    metrics.add('Bad name');
    expect(samples.map(({ name, value }) => [name, value])).toEqual([['calls', 1]]);
    expect(logger.lines).toEqual([
      'warn: the metric calls is a counter and was used as a gauge: that is left out',
      'warn: the metric shrinks was given -1: that is left out',
      'warn: the metric unknown was given NaN: that is left out',
      'warn: the metric "Bad name" has no valid name: it is left out',
    ]);
  });

  test('a listener that throws fails no plugin', () => {
    const logger = recordingLogger();
    const onMetric = (): never => {
      throw new Error('full');
    };
    const { metrics } = pluginContext('storage', 's', { directory: '/', logger, onMetric });
    metrics.add('calls');
    metrics.add('calls');
    expect(logger.lines).toEqual(['warn: the listener of metrics failed at calls: full']);
  });
});
