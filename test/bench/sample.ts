/** A file that looks like what a backup holds. */
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, existsSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { PostgresServer } from '../support/postgres.ts';

/** The tables of `fill`, in equal shares. */
const TABLES = ['noise', 'prose', 'pgbench_accounts'];
const BLOCK = 1024 * 1024;

export interface Sample {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

/**
 * The files of three tables, a mebibyte of each in turn, so that every part of the sample compresses alike. Ends at `limit` bytes, or
 * with the first table that ends.
 */
export async function writeSample(server: PostgresServer, path: string, limit: number): Promise<Sample> {
  await server.query('CHECKPOINT');
  const readers = [];
  for (const table of TABLES) {
    const relation = await server.value(`SELECT pg_relation_filepath('${table}')`);
    readers.push(blocksOf(join(server.data, relation)));
  }
  const out = openSync(path, 'w');
  let bytes = 0;
  try {
    for (let ended = false; !ended && bytes < limit;) {
      for (const reader of readers) {
        const { done, value } = reader.next();
        if (done === true) ended = true;
        else bytes += writeSync(out, value);
      }
    }
  } finally {
    closeSync(out);
  }
  return { path, bytes, sha256: await digestOf(path) };
}

/** A table above a gigabyte goes on in files named .1, .2 and so on. */
function* blocksOf(first: string): Generator<Uint8Array, undefined> {
  const block = Buffer.alloc(BLOCK);
  for (let part = 0; part === 0 || existsSync(`${first}.${part}`); part++) {
    const file = openSync(part === 0 ? first : `${first}.${part}`, 'r');
    try {
      for (let read = readSync(file, block); read > 0; read = readSync(file, block)) yield block.subarray(0, read);
    } finally {
      closeSync(file);
    }
  }
  return undefined;
}

export async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: BLOCK }), hash);
  return hash.digest('hex');
}
