import type { CallOptions } from '../contracts/storage.ts';
import { lastSegmentNumber, segmentName } from '../postgres/wal-file.ts';
import { historyName } from '../postgres/wal-file.ts';
import { parseLsn } from '../postgres/lsn.ts';
import { requiredWalOf } from '../backup/required-wal.ts';
import type { WalReader } from '../repository/wal.ts';
import type { FileTree } from './file-tree.ts';
import type { RestorePlan } from './plan-types.ts';
import { restoreError } from './restore-error.ts';

/**
 * Puts the WAL that makes the backup consistent into `pg_wal`, with the history of the timelines, as `pg_basebackup` does: the cluster
 * is whole in itself, and `pg_verifybackup` passes. The `.done` files tell a server that archives later that these are archived.
 */
export async function placeWal(
  plan: RestorePlan,
  archive: WalReader,
  tree: FileTree,
  options: CallOptions & { readonly fileMode: number },
): Promise<void> {
  const { backup, path, wal } = plan;
  const own = lastSegmentNumber(parseLsn(backup.stopLsn), backup.segmentSize);
  const sources = new Map<string, AsyncIterable<Uint8Array>>();
  for (const piece of wal.pieces) if (piece.number <= own) sources.set(piece.name, piece.read(options));
  // Where the timeline changed in the backup's last segment, its own version of it is the one that its manifest names.
  for (const { timeline, first, last } of (await requiredWalOf(backup, archive, options)).runs) {
    for (let number = first; number <= last; number++) {
      const name = segmentName(timeline, number, backup.segmentSize);
      const object = sources.has(name) ? undefined : await archive.find(name, options);
      if (object !== undefined) sources.set(name, archive.read(object, options));
    }
  }
  for (const { timeline } of path) {
    const history = timeline === 1 ? undefined : await archive.history(timeline, options);
    if (history !== undefined) sources.set(historyName(timeline), archive.read(history.object, options));
  }
  for (const [name, source] of sources) {
    const handle = await tree.create(`pg_wal/${name}`, options.fileMode);
    try {
      for await (const chunk of source) await write(handle, chunk, name);
    } finally {
      await handle.close();
    }
    await tree.write(`pg_wal/archive_status/${name}.done`, new Uint8Array(), options.fileMode);
  }
}

async function write(
  handle: { writeFile(bytes: Uint8Array): Promise<void> },
  chunk: Uint8Array,
  name: string,
): Promise<void> {
  try {
    await handle.writeFile(chunk);
  } catch (error) {
    throw restoreError(error, `writing pg_wal/${name}`);
  }
}
