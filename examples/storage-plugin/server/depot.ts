/** What a depot holds: the bytes of its objects as files, and their names in SQLite. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { open, readdir, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** A refusal that the client is told of: a status, and a word that says which one. */
export class Refusal extends Error {
  readonly status: number;
  readonly reason: string;
  /** Of the object that is in the way. */
  readonly digest: string | undefined;

  constructor(status: number, reason: string, digest?: string) {
    super(reason);
    this.status = status;
    this.reason = reason;
    this.digest = digest;
  }
}

/** One object. */
export interface StoredObject {
  readonly key: string;
  readonly size: number;
  /** Epoch milliseconds. */
  readonly modified: number;
  /** SHA-256 of the bytes, hex. */
  readonly digest: string;
  /** Its file in `data`. */
  readonly file: string;
}

export interface DepotOptions {
  readonly folder: string;
  /** Names of the buckets, each with the most bytes that it may hold; undefined for no limit. */
  readonly buckets: ReadonlyMap<string, number | undefined>;
}

/** Bytes on their way to become an object. */
interface PendingUpload {
  readonly bucket: string;
  /** Epoch milliseconds of the last write. */
  touched: number;
  size: number;
}

/** An upload to which nothing was added for a day is given up. */
const PATIENCE_MS = 86_400_000;

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, key TEXT NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL, digest TEXT NOT NULL,
    modified INTEGER NOT NULL, PRIMARY KEY (bucket, key)) WITHOUT ROWID;
`;

/**
 * An object is shown by its row, which is written when its file is whole and synced: a crash leaves a file without a row at most, which
 * the next start deletes. Uploads are not remembered beyond the process. Keys compare by the bytes of their UTF-8, as SQLite does without a collation.
 */
export class Depot {
  readonly #data: string;
  readonly #buckets: DepotOptions['buckets'];
  readonly #database: DatabaseSync;
  readonly #uploads = new Map<string, PendingUpload>();

  constructor({ folder, buckets }: DepotOptions) {
    this.#data = join(folder, 'data');
    this.#buckets = buckets;
    mkdirSync(this.#data, { recursive: true });
    this.#database = new DatabaseSync(join(folder, 'index.sqlite'));
    this.#database.exec(SCHEMA);
  }

  /** Deletes files that belong to nothing; to be called before anything else. */
  async sweep(): Promise<void> {
    const known = new Set(
      this.#database
        .prepare('SELECT file FROM objects')
        .all()
        .map((row) => String(row['file'])),
    );
    for (const name of await readdir(this.#data)) if (!known.has(name)) await rm(join(this.#data, name));
  }

  /** Begins an upload; gives its id. */
  async begin(bucket: string): Promise<string> {
    this.#check(bucket);
    for (const [id, { touched }] of this.#uploads) if (touched < Date.now() - PATIENCE_MS) await this.abandon(id);
    const id = randomUUID();
    await (await open(join(this.#data, id), 'wx')).close();
    this.#uploads.set(id, { bucket, touched: Date.now(), size: 0 });
    return id;
  }

  /** Writes bytes of an upload from `offset` on. The same bytes may be written again, also at the same time. */
  async write(bucket: string, id: string, offset: number, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const upload = this.#upload(bucket, id);
    const file = await open(join(this.#data, id), 'r+');
    try {
      let position = offset;
      for await (const chunk of chunks) {
        this.#reserve(upload, position + chunk.byteLength);
        await file.write(chunk, 0, chunk.byteLength, position);
        position += chunk.byteLength;
      }
    } finally {
      await file.close();
    }
  }

  /**
   * Makes an object of an upload whose bytes have this digest. With `ifAbsent` a key that is taken is a refusal, with the digest of what is
   * there. Gives whether the key is new.
   */
  async publish(
    bucket: string,
    key: string,
    upload: { readonly id: string; readonly digest: string; readonly ifAbsent: boolean },
  ): Promise<boolean> {
    const { id, digest, ifAbsent } = upload;
    this.#upload(bucket, id);
    const file = await open(join(this.#data, id), 'r');
    let found: { readonly digest: string; readonly size: number };
    try {
      found = await digestOf(file);
      await file.datasync();
    } finally {
      await file.close();
    }
    if (found.digest !== digest) throw new Refusal(400, 'digest-mismatch');
    await syncFolder(this.#data);
    // From here on without a pause: nobody else can come between.
    this.#upload(bucket, id);
    const old = this.#find(bucket, key);
    if (old !== undefined && ifAbsent) throw new Refusal(412, 'exists', old.digest);
    this.#database
      .prepare('INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?)')
      .run(bucket, key, id, found.size, digest, Date.now());
    this.#uploads.delete(id);
    if (old !== undefined) await rm(join(this.#data, old.file));
    return old === undefined;
  }

  /** Gives up an upload. One that is not there, or has become an object, stays as it is. */
  async abandon(id: string): Promise<void> {
    if (this.#uploads.delete(id)) await rm(join(this.#data, id), { force: true });
  }

  /** The object of this key. */
  look(bucket: string, key: string): StoredObject {
    this.#check(bucket);
    const found = this.#find(bucket, key);
    if (found === undefined) throw new Refusal(404, 'no-object');
    return found;
  }

  /** Opens the bytes of the object; the caller closes them. They stay readable when it is removed. */
  open(object: StoredObject): Promise<FileHandle> {
    return open(join(this.#data, object.file), 'r');
  }

  /** Up to `limit` objects whose keys begin with `prefix` and come after `after`. */
  list(bucket: string, prefix: string, after: string, limit: number): readonly StoredObject[] {
    this.#check(bucket);
    const found: StoredObject[] = [];
    const statement = this.#database.prepare(
      'SELECT key, file, size, digest, modified FROM objects WHERE bucket = ? AND key >= ? AND key > ? ORDER BY key',
    );
    for (const row of statement.iterate(bucket, prefix, after)) {
      const object = row as unknown as StoredObject;
      if (found.length === limit || !object.key.startsWith(prefix)) break;
      found.push(object);
    }
    return found;
  }

  async remove(bucket: string, key: string): Promise<void> {
    const { file } = this.look(bucket, key);
    this.#database.prepare('DELETE FROM objects WHERE bucket = ? AND key = ? AND file = ?').run(bucket, key, file);
    await rm(join(this.#data, file), { force: true });
  }

  close(): void {
    this.#database.close();
  }

  #check(bucket: string): void {
    if (!this.#buckets.has(bucket)) throw new Refusal(404, 'no-bucket');
  }

  #upload(bucket: string, id: string): PendingUpload {
    this.#check(bucket);
    const upload = this.#uploads.get(id);
    if (upload?.bucket !== bucket) throw new Refusal(404, 'no-upload');
    return upload;
  }

  #find(bucket: string, key: string): StoredObject | undefined {
    const statement = 'SELECT key, file, size, digest, modified FROM objects WHERE bucket = ? AND key = ?';
    return this.#database.prepare(statement).get(bucket, key) as unknown as StoredObject | undefined;
  }

  /** Sees to it that there is room for an upload of `size` bytes. */
  #reserve(upload: PendingUpload, size: number): void {
    const { bucket } = upload;
    upload.touched = Date.now();
    upload.size = Math.max(upload.size, size);
    const quota = this.#buckets.get(bucket);
    if (quota === undefined) return;
    const row = this.#database.prepare('SELECT total(size) AS used FROM objects WHERE bucket = ?').get(bucket);
    const pending = [...this.#uploads.values()].filter((other) => other.bucket === bucket);
    if (pending.reduce((sum, other) => sum + other.size, Number(row?.['used'])) > quota) throw new Refusal(507, 'full');
  }
}

async function digestOf(file: FileHandle): Promise<{ readonly digest: string; readonly size: number }> {
  const hash = createHash('sha256');
  const memory = Buffer.allocUnsafe(1024 * 1024);
  for (let size = 0; ;) {
    const { bytesRead } = await file.read(memory, 0, memory.byteLength, size);
    if (bytesRead === 0) return { digest: hash.digest('hex'), size };
    hash.update(memory.subarray(0, bytesRead));
    size += bytesRead;
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
