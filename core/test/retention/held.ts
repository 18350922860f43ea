/** What a repository holds by its keys, and what accounts for it by the story. */
import type { Storage } from '../../src/contracts/storage.ts';
import { parseWalFileName } from '../../src/postgres/wal-file.ts';
import { firstNeeded, isFrom, segmentKey, type Backup, type System, type Timeline } from './story.ts';

/** What the repository holds, by its keys alone. */
export interface Held {
  readonly keys: ReadonlySet<string>;
  /** Ids of what a listing takes for a backup. */
  readonly complete: ReadonlySet<string>;
}

export async function heldBy(storage: Storage): Promise<Held> {
  const keys = new Set<string>();
  for await (const { key } of storage.list('')) keys.add(key);
  const marked = new Set([...keys].flatMap((key) => /\/facts\/([^/]+)\/[^/]+-expired\.json$/.exec(key)?.[1] ?? []));
  const complete = new Set(
    [...keys].flatMap((key) => {
      const id = /\/backups\/([^/]+)\/backup\.json$/.exec(key)?.[1];
      return id === undefined || marked.has(id) ? [] : [id];
    }),
  );
  return { keys, complete };
}

/** Whether WAL of a backup leads on along the line that lives. */
export function isOnLiving({ timeline, to, system }: Backup): boolean {
  for (let at: Timeline | undefined = system.living, end = Infinity; at !== undefined;) {
    // It stops in `to`, and the next timeline begins a little before the end of that.
    if (at === timeline) return to < end || end === Infinity;
    end = at.from?.segment ?? 0;
    at = at.from?.timeline;
  }
  return false;
}

/** Whether a backup that is there, or the lack of any, is the reason for an object. */
export function isAccounted(
  key: string,
  { keys, complete }: Held,
  { backups, systems }: { readonly backups: readonly Backup[]; readonly systems: readonly System[] },
): boolean {
  if (key === 'main/pgark.json') return true;
  const [, systemId = '', room = '', subject = ''] = key.split('/');
  if (room === 'backups' || room === 'facts') return complete.has(subject);
  const there = backups.filter(({ id, system }) => system.id === systemId && complete.has(id));
  const system = systems.find(({ id }) => id === systemId);
  const name = key.split('/').at(-1) ?? '';
  const tail = /\/([0-9A-F]{24})\.tail\//.exec(key)?.[1];
  const file = parseWalFileName(tail ?? name.replace(/-[0-9a-f]{32}$/, ''));
  const timeline = system?.timelines.find(({ number }) => number === file?.timeline);
  if (room !== 'wal' || system === undefined || file === undefined || timeline === undefined) return false;
  // Without a backup nobody can say what is needed.
  if (there.length === 0) return true;
  if (file.kind === 'history')
    return system.timelines.some(
      (other) => isFrom(other, timeline) && there.some((backup) => firstNeeded(backup, other) !== undefined),
    );
  const segment = file.log * 4096 + file.index;
  if (tail !== undefined && keys.has(segmentKey(system, timeline, segment))) return false;
  return there.some((backup) => {
    const first = firstNeeded(backup, timeline);
    return first !== undefined && segment >= first;
  });
}
