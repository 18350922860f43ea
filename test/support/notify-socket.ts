/** The socket on which systemd takes messages of its services: a real one, by a small program, as Node has none of this kind. */
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { later } from './later.ts';
import { giveToServer, removeFolder, temporaryFolder } from './postgres.ts';
import { until } from './until.ts';

const LISTEN = `
use Socket; use IO::Handle; STDOUT->autoflush(1);
socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; bind($s, sockaddr_un($ARGV[0])) or die $!; chmod 0777, $ARGV[0];
print "listening\\n";
while (defined recv($s, my $m, 65536, 0)) { $m =~ s/\\n/\\t/g; print "$m\\n"; }
`;

/** Why it cannot be had on this host; undefined where it can. */
export function missingForNotify(): string | undefined {
  for (const [program, argument] of [
    ['perl', '-e1'],
    ['systemd-notify', '--version'],
  ] as const)
    if (spawnSync(program, [argument]).status !== 0) return `${program} is not installed`;
  return undefined;
}

export interface NotifySocket {
  readonly path: string;
  /** The messages so far, the lines of each between tabs. */
  readonly messages: readonly string[];
  /** Waits for a message, by default one that came at any time. */
  waitFor(pattern: RegExp, after?: number): Promise<string>;
}

/** Listens until the end of the test. */
export async function notifySocket(): Promise<NotifySocket> {
  const folder = later(temporaryFolder('notify'), removeFolder);
  giveToServer(folder);
  const path = join(folder, 'notify');
  const child = later(spawn('perl', ['-e', LISTEN, path], { stdio: ['ignore', 'pipe', 'inherit'] }), (one) =>
    one.kill(),
  );
  const messages: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => messages.push(line));
  await until('the socket listens', () => messages.length > 0);
  messages.length = 0;
  return {
    path,
    messages,
    waitFor: async (pattern, after = 0) => {
      const found = (): string | undefined => messages.slice(after).find((message) => pattern.test(message));
      await until(
        String(pattern),
        () => found() !== undefined,
        () => messages.join('\n'),
      );
      return found() ?? '';
    },
  };
}
