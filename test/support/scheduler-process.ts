/** A daemon that does nothing but run jobs, as a process of its own that can be killed: `node scheduler-process.ts <config> <moment from which its clock goes 20 times as fast>`. */
import { openArchive } from '../../core/src/archive/open.ts';
import type { Run } from '../../core/src/schedule/run.ts';
import { acceleratedClock } from './accelerated-clock.ts';

const [config = '', from = ''] = process.argv.slice(2);
const say = (what: string, data: object): void => void process.stdout.write(`${what} ${JSON.stringify(data)}\n`);

const archive = await openArchive({ config, env: process.env });
const scheduler = await archive.openScheduler({
  clock: acceleratedClock(20, Number(from)),
  lockInterval: 200,
  onRun: ({ id, state, kind, trigger, summary, repeats }: Run) =>
    say('run', { id, state, kind, trigger, summary, repeats }),
});
let before = '';
const timer = setInterval(() => {
  const { state, problem } = scheduler.state;
  const now = JSON.stringify({ state, problem });
  if (now !== before) process.stdout.write(`state ${now}\n`);
  before = now;
}, 20);
process.once('SIGTERM', () => {
  clearInterval(timer);
  void scheduler.close().then(() => archive.close());
});
