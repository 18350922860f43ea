/** A repository that is away for a while, and comes back. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FsStorage } from '@pgark/storage-fs';
import { ArchiveError } from '../../core/src/contracts/errors.ts';
import type { Storage } from '../../core/src/contracts/storage.ts';
import { Repository } from '../../core/src/repository/repository.ts';
import { bound } from './gate.ts';
import { repositoryHashes } from './receiving.ts';
import { silentLogger } from './silent-logger.ts';

/** A repository in a folder, whose storage can be made to fail or to say nothing. */
export class FaultyRepository {
  readonly name: string;
  readonly folder: string;
  state: 'works' | 'fails' | 'hangs' = 'works';
  /** Calls that met the fault. */
  faults = 0;

  constructor(name: string, below: string) {
    this.name = name;
    this.folder = join(below, name);
    mkdirSync(this.folder);
  }

  get repository(): Repository {
    const storage = bound(new FsStorage({ path: this.folder }, { logger: silentLogger, directory: '/' }));
    const call = async (): Promise<void> => {
      if (this.state !== 'works') this.faults += 1;
      while (this.state === 'hangs') await sleep(10);
      if (this.state === 'fails') throw new ArchiveError('STORAGE_UNAVAILABLE', `${this.name} is down`);
    };
    const faulty: Storage = {
      ...storage,
      put: async (...parameters) => {
        await call();
        await storage.put(...parameters);
      },
      get: async function* (...parameters) {
        await call();
        yield* storage.get(...parameters);
      },
      list: async function* (...parameters) {
        await call();
        yield* storage.list(...parameters);
      },
      stat: async (...parameters) => {
        await call();
        return storage.stat(...parameters);
      },
    };
    return new Repository({
      cluster: 'main',
      name: this.name,
      storage: faulty,
      codecs: [],
      codecFor: async (suffix) => Promise.reject(new Error(suffix)),
    });
  }

  /** Name and SHA-256 of every WAL file in it. */
  archived(systemId: string): Promise<ReadonlyMap<string, string>> {
    return repositoryHashes(this.folder, systemId);
  }

  /** The gaps on record, as positions from and to. */
  async gaps(systemId: string): Promise<readonly unknown[]> {
    return (await this.repository.facts(systemId).list('wal')).map(({ data }) => [data['from'], data['to']]);
  }
}
