import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeShared, writeShared } from '../receive/shared-file.ts';
import type { ToldCondition } from './fold.ts';

/**
 * What one hook was told of each condition: one small file each, so that it outlives the process, and two processes do not take each
 * other's. Where files cannot be written it is kept in memory.
 */
export class ToldConditions {
  readonly #folder: string | undefined;
  /** What could not be written, or removed, and is right all the same: the file is older. */
  readonly #memory = new Map<string, ToldCondition | undefined>();

  constructor(folder: string | undefined) {
    this.#folder = folder;
  }

  get(key: string): ToldCondition | undefined {
    if (this.#memory.has(key)) return this.#memory.get(key);
    const path = this.#path(key);
    return path === undefined ? undefined : read(path);
  }

  set(key: string, state: ToldCondition | undefined): void {
    const path = this.#path(key);
    this.#memory.delete(key);
    try {
      if (path === undefined) throw new Error('there is no folder');
      if (state === undefined) rmSync(path, { force: true });
      else write(path, state);
    } catch {
      // The event itself says what is the matter with the folder, when it is to be kept.
      this.#memory.set(key, state);
    }
  }

  /** Keys of those that are to be told later. */
  pending(): readonly string[] {
    const keys = new Set([...this.#memory.keys(), ...this.#files().map(({ key }) => key)]);
    return [...keys].filter((key) => this.get(key)?.pending !== undefined);
  }

  #files(): readonly ToldCondition[] {
    const folder = this.#folder;
    if (folder === undefined) return [];
    try {
      const names = readdirSync(folder).filter((name) => name.endsWith('.json'));
      return names.flatMap((name) => read(join(folder, name)) ?? []);
    } catch {
      return [];
    }
  }

  #path(key: string): string | undefined {
    if (this.#folder === undefined) return undefined;
    return join(this.#folder, `${createHash('sha256').update(key).digest('hex').slice(0, 16)}.json`);
  }
}

/** Undefined when there is none, or none that can be read: then the condition is told once more. */
function read(path: string): ToldCondition | undefined {
  try {
    const state = JSON.parse(readFileSync(path, 'utf8')) as Partial<ToldCondition>;
    return typeof state.key === 'string' && typeof state.since === 'number' ? (state as ToldCondition) : undefined;
  } catch {
    return undefined;
  }
}

function write(path: string, state: ToldCondition): void {
  const folder = dirname(path);
  makeShared(dirname(folder));
  makeShared(folder);
  const temporary = `${path}.${process.pid}.tmp`;
  // Of a process that was killed and had the same id.
  rmSync(temporary, { force: true });
  writeShared(temporary, JSON.stringify(state));
  renameSync(temporary, path);
}
