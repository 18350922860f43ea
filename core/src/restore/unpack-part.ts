/** Writes the files of one part of a backup. */
import type { FileHandle } from 'node:fs/promises';
import { ArchiveError } from '../contracts/errors.ts';
import { isLeased, releaseChunk, takeMemory } from '../contracts/lease.ts';
import { CONTROL_FILE_PATH } from '../postgres/control-file.ts';
import type { ManifestFile } from '../postgres/manifest.ts';
import { TarReader, type TarHeader } from '../postgres/tar.ts';
import { PartCheck } from './file-check.ts';
import type { BackgroundSync } from './background-sync.ts';
import type { FileTree } from './file-tree.ts';
import { FileWriter } from './file-writer.ts';
import { restoreError } from './restore-error.ts';

/** The name of the control file until everything else is in place: without it no server starts from the folder. */
export const PENDING_CONTROL_FILE: string = `${CONTROL_FILE_PATH}.pgark`;

export interface UnpackTarget {
  /** `base`, or the OID of a tablespace. */
  readonly archive: string;
  readonly tree: FileTree;
  /** What the manifest puts before the paths of the archive: empty, or `pg_tblspc/<oid>/`. */
  readonly prefix: string;
  /** By path, of the whole backup. */
  readonly files: ReadonlyMap<string, ManifestFile>;
  /** New locations of tablespaces by OID; undefined for one inside the data directory. */
  readonly tablespaces: ReadonlyMap<string, string | undefined>;
  /** Takes the files that are complete. */
  readonly syncs: BackgroundSync;
  /** Told of bytes as they are written. */
  readonly onBytes: (bytes: number) => void;
  /** Called for each file that is written and agrees with the manifest, with its path there. */
  readonly onFile: (path: string) => void;
}

type Action =
  | { readonly kind: 'entry'; readonly header: TarHeader }
  | { readonly kind: 'data'; readonly chunk: Uint8Array }
  | { readonly kind: 'end' };

/**
 * Unpacks one tar archive. Errors: `BACKUP_CORRUPT` for anything that the manifest does not know or that does not agree with it,
 * and for paths that leave the folder; `RESTORE_FAILED` for the file system's.
 */
export async function unpackPart(source: AsyncIterable<Uint8Array>, name: string, target: UnpackTarget): Promise<void> {
  let actions: Action[] = [];
  const reader = new TarReader(
    {
      entry: (header) => void actions.push({ kind: 'entry', header }),
      data: (chunk) => void actions.push({ kind: 'data', chunk }),
      entryEnd: () => void actions.push({ kind: 'end' }),
    },
    name,
  );
  const writer = new EntryWriter(target);
  try {
    for await (const chunk of source) {
      reader.push(chunk);
      for (const action of actions) await writer.take(action);
      actions = [];
      await writer.letGo(chunk);
      await writer.check.turn();
    }
    reader.end();
    await writer.check.finish();
  } finally {
    await writer.close();
  }
}

interface OpenFile {
  readonly handle: FileHandle;
  readonly place: Buffer;
  readonly writer: FileWriter;
}

class EntryWriter {
  readonly check: PartCheck;
  readonly #target: UnpackTarget;
  #open: OpenFile | undefined;
  /** Whether memory may wait to be moved to the hasher. */
  #isMoving = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(target: UnpackTarget) {
    this.#target = target;
    this.check = new PartCheck(target.onFile);
  }

  async take(action: Action): Promise<void> {
    if (action.kind === 'entry') return this.#entry(action.header);
    const open = this.#open;
    if (open === undefined) return; // the end of a folder or link
    if (action.kind === 'data') {
      this.check.update(action.chunk);
      await open.writer.write(action.chunk);
      this.#throw();
      return;
    }
    await this.written();
    this.#open = undefined;
    await this.#target.syncs.add(open.handle, open.place, open.writer.size);
    this.check.end();
  }

  /** Waits until all that was taken is written. Errors: `RESTORE_FAILED`. */
  async written(): Promise<void> {
    await this.#open?.writer.finish();
    this.#throw();
  }

  /** All of a chunk was taken: sees to it that it is hashed, and released when it is written and hashed. */
  async letGo(chunk: Uint8Array): Promise<void> {
    const taken = takeMemory(chunk);
    if (taken !== undefined) {
      this.#afterWrites(this.check.mover(taken));
      this.#isMoving = true;
      return;
    }
    // What is moved goes to the hasher when it is written: it comes first.
    if (this.#isMoving) await this.written();
    this.#isMoving = false;
    this.check.hash();
    // A chunk that is not leased may change when the next one is asked for.
    if (isLeased(chunk)) this.#afterWrites(() => releaseChunk(chunk));
    else await this.written();
  }

  /** Calls `then` when nothing that was taken so far is written any more. Files before the open one are written already. */
  #afterWrites(then: () => void): void {
    if (this.#open === undefined) then();
    else this.#open.writer.afterWrites(then);
  }

  async close(): Promise<void> {
    this.check.close();
    const open = this.#open;
    this.#open = undefined;
    await open?.writer.finish();
    await open?.handle.close();
  }

  #throw(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #entry(header: TarHeader): Promise<void> {
    const { tree, prefix, files } = this.#target;
    switch (header.type) {
      case 'directory':
        return tree.directory(header.path, header.mode);
      case 'symlink':
        return this.#link(header);
      case 'file': {
        const path = prefix + header.path;
        const file = files.get(path);
        if (file === undefined)
          throw new ArchiveError('BACKUP_CORRUPT', `the backup holds a file that its manifest does not name: ${path}`);
        const place = path === CONTROL_FILE_PATH ? PENDING_CONTROL_FILE : header.path;
        const handle = await tree.create(place, header.mode);
        this.#open = this.#opened(handle, tree.place(place));
        this.check.begin(file);
      }
    }
  }

  #opened(handle: FileHandle, place: Buffer): OpenFile {
    const { onBytes, syncs } = this.#target;
    const writer = new FileWriter(handle, {
      onBytes: (count, position) => {
        onBytes(count);
        syncs.grown(handle, place, position - count, position);
      },
      onFailure: (error) => (this.#failure ??= { error: restoreError(error, `writing ${place.toString()}`) }),
    });
    return { handle, place, writer };
  }

  /** The only links of a backup are those of its tablespaces. Where they point to is decided by the plan, not by the archive. */
  async #link({ path, linkTarget }: TarHeader): Promise<void> {
    const { archive, tree, tablespaces } = this.#target;
    const oid = /^pg_tblspc\/([1-9][0-9]*)$/.exec(path)?.[1];
    const location = oid === undefined ? undefined : tablespaces.get(oid);
    if (archive !== 'base' || location === undefined)
      throw new ArchiveError(
        'BACKUP_CORRUPT',
        `the backup holds a link that is of no tablespace: ${path} to ${linkTarget}`,
      );
    return tree.link(path, location);
  }
}
