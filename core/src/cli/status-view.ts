/** What `pgark status` shows. */
import type { Config } from '../config/config.ts';
import { canRestoreTo } from '../documents/status-document.ts';
import { statusLines } from '../documents/status-text.ts';
import type { ClusterStatus } from '../status/cluster-status.ts';
import { perfdata, type Judgement } from '../status/judge.ts';
import type { Output } from './output.ts';

/** One line for a monitoring system. */
export function nagiosLine(status: ClusterStatus, { level, reasons, metrics }: Judgement): string {
  const text = reasons.length === 0 ? canRestoreTo(status) : `${status.cluster}: ${reasons.join('; ')}`;
  // A bar would begin the values.
  return `PGARK ${level.toUpperCase()} - ${text.replaceAll('|', '/')} | ${perfdata(metrics)}`;
}

/** For people. */
export function printStatus(output: Output, status: ClusterStatus, config: Pick<Config, 'repositories'>): void {
  const lines = statusLines(status, config);
  const width = Math.max(...lines.map(([name]) => name.length));
  for (const [name, value] of lines) output.line(`${name.padEnd(width)}  ${value}`);
  output.line();
  output.line(canRestoreTo(status));
}
