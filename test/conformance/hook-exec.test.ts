/** The hook that runs a program, with programs that take, refuse and hang. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import exec from '@pgark/hook-exec';
import type { ArchiveEvent } from '@pgark/sdk';
import { describeHook, type HookBehaviour, type HookDelivery, type HookReceiver } from '@pgark/sdk/testing';
import { configuredHook } from '../support/configured-hook.ts';

/** A program in a folder of its own: what it is told it puts into a file, and what it then does stands in another. */
class TestProgram implements HookReceiver {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'pgark-hook-exec-'));

  constructor() {
    mkdirSync(join(this.folder, 'attempts'));
    mkdirSync(join(this.folder, 'taken'));
    this.behave('accept');
    const lines = [
      '#!/bin/sh',
      // No two files have one name, and their names are in the order of the runs.
      'run=$(date +%s%N)-$$',
      'touch "attempts/$run"',
      'case $(cat behaviour) in',
      '  accept) { cat; env -0; } >"$run"; mv "$run" "taken/$run" ;;',
      '  reject) cat >&2; exit 63 ;;',
      '  fail) cat >&2; exit 1 ;;',
      '  hang) sleep 600 ;;',
      'esac',
    ];
    writeFileSync(join(this.folder, 'hook.sh'), `${lines.join('\n')}\n`);
    chmodSync(join(this.folder, 'hook.sh'), 0o755);
  }

  behave(behaviour: HookBehaviour): void {
    writeFileSync(join(this.folder, 'behaviour'), behaviour);
  }

  attempts(): number {
    return readdirSync(join(this.folder, 'attempts')).length;
  }

  received(): readonly HookDelivery[] {
    const files = readdirSync(join(this.folder, 'taken')).toSorted();
    return files.map((file) => {
      const content = readFileSync(join(this.folder, 'taken', file), 'utf8');
      const line = content.slice(0, content.indexOf('\n') + 1);
      const event = JSON.parse(line) as ArchiveEvent;
      const names = [...content.slice(line.length).matchAll(/(?:^|\0)([^=]+)=/g)].map(([, name = '']) => name);
      const structure = JSON.stringify(event, (_, value: unknown) => (typeof value === 'string' ? '' : value));
      return { id: event.id, text: `${event.summary}\n${content}`, shape: [...names.toSorted(), structure].join('\n') };
    });
  }

  async close(): Promise<void> {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

describeHook('exec', {
  receiver: async () => new TestProgram(),
  create: ({ folder }) => configuredHook(exec, { command: ['./hook.sh'] }, { directory: folder }),
  behaviours: ['accept', 'reject', 'fail', 'hang'],
});
