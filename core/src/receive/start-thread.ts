import { Worker } from 'node:worker_threads';
import { plainTarget, type ThreadData } from './messages.ts';
import type { ReceiveOptions } from './receive.ts';

/** Starts the thread that receives. */
export function startThread(options: ReceiveOptions): Worker {
  const { config, cluster, target, until, acceptTimeline } = options;
  const data: ThreadData = {
    target: plainTarget(target),
    root: config.spool,
    cluster,
    slot: config.slot,
    createSlot: config.createSlot,
    // Without a repository nobody ever confirms anything.
    ack: options.repositories.length === 0 ? 'local' : config.ack,
    statusInterval: config.statusInterval,
    onGap: config.onGap,
    until,
    acceptTimeline,
  };
  // Built, the modules are chunks in one folder, and the thread is an entry of its own.
  const file = import.meta.url.endsWith('.ts') ? './thread.ts' : './receive-thread.js';
  return new Worker(new URL(file, import.meta.url), { workerData: data, execArgv: [], name: 'pgark receive' });
}
