import type { CallOptions } from '../contracts/storage.ts';
import type { WalFile } from '../postgres/wal-file.ts';
import { signalOf } from '../repository/objects.ts';
import type { Repository } from '../repository/repository.ts';
import type { WalObject, WalSlice } from '../repository/wal.ts';
import type { WalScope } from './wal-scope.ts';

/** WAL files that follow each other and share a verdict. */
export interface WalStretch {
  readonly systemId: string;
  readonly timeline: number;
  /** Names of the first and the last file; a slice has that of its segment. */
  readonly from: string;
  readonly to: string;
  /** Files and slices. */
  readonly objects: number;
  /** As stored. */
  readonly bytes: number;
  readonly action: 'keep' | 'remove';
  /** What follows `kept because` or `removed because`. */
  readonly reason: string;
}

/** All WAL of a system in stretches, histories on their own; from one listing, of which only the sums are held. */
export async function walStretches(
  repository: Repository,
  systemId: string,
  scope: WalScope,
  options: CallOptions = {},
): Promise<readonly WalStretch[]> {
  const stretches: WalStretch[] = [];
  const histories: WalStretch[] = [];
  for await (const entry of repository.wal(systemId).everything(signalOf(options))) {
    const { timeline, name, kind } = fileOf(entry);
    const { keep, text } = scope.judge(fileOf(entry));
    const one: WalStretch = {
      systemId,
      timeline,
      from: name,
      to: name,
      objects: 1,
      bytes: entry.size,
      action: keep ? 'keep' : 'remove',
      reason: text,
    };
    const list = kind === 'history' ? histories : stretches;
    const last = list.at(-1);
    const follows =
      kind !== 'history' && last?.timeline === timeline && last.action === one.action && last.reason === one.reason;
    if (last === undefined || !follows) list.push(one);
    else list[list.length - 1] = { ...last, to: name, objects: last.objects + 1, bytes: last.bytes + one.bytes };
  }
  return [...stretches, ...histories];
}

/** The file that an object of the WAL is, or is a slice of. */
export function fileOf(entry: WalObject | WalSlice): WalFile {
  return 'segment' in entry ? entry.segment : entry.file;
}
