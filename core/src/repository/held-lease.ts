/** A lease while it is held: it is renewed by itself. */
import { hostname } from 'node:os';
import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { newLeaseId } from './layout.ts';
import { signalOf } from './objects.ts';
import { LEASE_TIME, type LeaseContent, type LeaseScope } from './lease.ts';
import type { Repository } from './repository.ts';

/** How often a lease is renewed within its time. */
const RENEWALS = 4;

/** Milliseconds in which a lease is given back. */
const PATIENCE = 5000;

/** The signal is for taking it alone: afterwards it is held until it is released. */
export interface HoldLeaseOptions extends CallOptions {
  /** What runs: `restore`. */
  readonly command: string;
  readonly scope: LeaseScope;
  /** See {@link LeaseContent.removes}; default false. */
  readonly removes?: boolean;
  /** Told when it could not be renewed; it is tried again. */
  readonly onFailure?: (error: unknown) => void;
  /** Default `Date.now`. */
  readonly now?: () => number;
}

export interface HeldLease {
  readonly id: string;
  /** The storage's clock when it was taken, epoch milliseconds. */
  readonly storageTime: number;
  /** From now on it holds this instead. */
  change(scope: LeaseScope, options?: CallOptions): Promise<void>;
  /** Throws `RETENTION_BUSY` when it could not be renewed for so long that others may take it for ended. */
  check(): void;
  /** Ends it. What cannot be removed, as the credentials may not allow, ends by itself. */
  release(): Promise<void>;
}

/** Takes a lease. Errors: those of the storage. */
export async function holdLease(
  repository: Repository,
  systemId: string,
  options: HoldLeaseOptions,
): Promise<HeldLease> {
  const { command, removes = false, onFailure, now = Date.now } = options;
  const leases = repository.leases(systemId);
  const id = newLeaseId(new Date(now()));
  const written: string[] = [];
  let { scope } = options;
  let renewed = performance.now();
  const write = async (call: CallOptions = {}): Promise<number> => {
    const begun = performance.now();
    const time = now();
    const content: LeaseContent = {
      command,
      host: hostname(),
      pid: process.pid,
      since: new Date(time).toISOString(),
      until: new Date(time + LEASE_TIME).toISOString(),
      removes,
      ...scope,
    };
    const { key, storageTime } = await leases.put(id, content, call);
    written.push(key);
    renewed = begun;
    return storageTime;
  };
  const storageTime = await write(signalOf(options));
  let writing: Promise<unknown> = Promise.resolve();
  const renew = (call: CallOptions = {}): Promise<unknown> =>
    (writing = writing.then(
      () => write(call),
      () => write(call),
    ));
  const timer = setInterval(() => {
    renew().catch((error: unknown) => onFailure?.(error));
  }, LEASE_TIME / RENEWALS);
  timer.unref();
  return {
    id,
    storageTime,
    change: async (next, call) => {
      scope = next;
      await renew(call);
    },
    check: () => {
      if (performance.now() - renewed < LEASE_TIME) return;
      throw new ArchiveError('RETENTION_BUSY', `the lease of pgark ${command} could not be renewed in time`, {
        hint: 'Check the storage, and run the command again: it goes on where it was.',
      });
    },
    release: async () => {
      clearInterval(timer);
      await writing.catch(() => undefined);
      const call = { signal: AbortSignal.timeout(PATIENCE) };
      await repository.storage.remove(written, call).catch(() => undefined); // it ends by itself
    },
  };
}
