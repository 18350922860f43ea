import { readFileSync } from 'node:fs';
import { ArchiveError, errnoOf, isArchiveError } from '../contracts/errors.ts';
import type { ReplicationConnection } from '../postgres/replication/connection.ts';
import { ancestry, parseHistory, type TimelineRange } from '../postgres/timeline.ts';
import { historyName } from '../postgres/wal-file.ts';
import { writeDurably } from './durable-file.ts';
import type { SystemInfo } from './messages.ts';
import { guard, spoolError } from './spool-error.ts';
import type { Spool } from './spool.ts';
import type { ServerState } from './start-position.ts';

export interface ServerIdentityOptions {
  readonly spool: Spool;
  /** The server is known for the first time: its folder in the spool is there. */
  readonly onSystem: (info: SystemInfo, folder: string) => void;
  /** A history is in the spool. */
  readonly onHistory: (systemId: string, name: string) => void;
  readonly onWarning: (message: string) => void;
}

/** Finds out, at each connect, who the server is, and refuses another one. */
export class ServerIdentity {
  readonly #options: ServerIdentityOptions;
  readonly #stored = new Set<number>();
  #system: SystemInfo | undefined;
  #wasPrimary = false;

  constructor(options: ServerIdentityOptions) {
    this.#options = options;
  }

  /** The system of this run; undefined before the first connect. */
  get systemId(): string | undefined {
    return this.#system?.systemId;
  }

  /**
   * Asks the server for its system, its WAL and its line of descent, and stores every timeline history of that.
   *
   * Throws `SYSTEM_MISMATCH` (H-07), `SPOOL_INVALID` for a history in the spool with other content.
   */
  async check(connection: ReplicationConnection): Promise<ServerState> {
    const { systemId, timeline, flushLsn } = await connection.identifySystem();
    this.#checkSystem(systemId, connection.host);
    const segmentSize = await connection.segmentSize();
    const { host, inRecovery } = connection;
    if (this.#wasPrimary && inRecovery) this.#options.onWarning(`${host} is a standby; before, it was a primary`);
    this.#wasPrimary = !inRecovery;
    if (this.#system === undefined) {
      const { spool, onSystem } = this.#options;
      const folder = spool.create(systemId);
      spool.clean(systemId);
      this.#system = { systemId, segmentSize };
      onSystem(this.#system, folder);
    }
    const lineage = await this.#lineage(connection, systemId, timeline);
    return { systemId, host, timeline, flushLsn, inRecovery, lineage, segmentSize };
  }

  #checkSystem(systemId: string, host: string): void {
    const mismatch = (expected: string, hint?: string): ArchiveError =>
      new ArchiveError('SYSTEM_MISMATCH', `${host} is system ${systemId}, expected ${expected}`, {
        ...(hint !== undefined && { hint }),
        details: { host, system_id: systemId, expected },
      });
    if (this.#system !== undefined) {
      if (this.#system.systemId !== systemId) throw mismatch(this.#system.systemId);
      return;
    }
    const { spool } = this.#options;
    const ids = spool.systemIds().filter((id) => spool.files(id).length > 0);
    const [other] = ids;
    if (other === undefined || ids.includes(systemId)) return;
    throw mismatch(
      other,
      `Point the config at the right server. If the cluster was made anew or upgraded, move ${spool.folderOf(other)} away: WAL of the former one waits there.`,
    );
  }

  async #lineage(
    connection: ReplicationConnection,
    systemId: string,
    timeline: number,
  ): Promise<readonly TimelineRange[]> {
    if (timeline === 1) return ancestry(1, []);
    const { name, content } = await connection.timelineHistory(timeline);
    const lineage = ancestry(timeline, parseHistory(content, name));
    // Ancestors first: the archive never knows of a timeline without knowing where it comes from (H-08).
    for (const range of lineage) {
      if (range.timeline === 1 || this.#stored.has(range.timeline)) continue;
      const known = range.timeline === timeline ? content : await this.#ancestor(connection, range.timeline);
      if (known !== undefined) this.#store(systemId, historyName(range.timeline), known);
      this.#stored.add(range.timeline);
    }
    return lineage;
  }

  /** A server need not have the histories of old timelines; the newest one tells of them all. */
  async #ancestor(connection: ReplicationConnection, timeline: number): Promise<Uint8Array | undefined> {
    try {
      return (await connection.timelineHistory(timeline)).content;
    } catch (error) {
      if (!isArchiveError(error) || error.details['sqlstate'] !== '58P01') throw error;
      this.#options.onWarning(`${connection.host} has no history of timeline ${timeline} that could be archived`);
      return undefined;
    }
  }

  #store(systemId: string, name: string, content: Uint8Array): void {
    const path = this.#options.spool.path(systemId, name);
    const present = readIfPresent(path);
    if (present === undefined) {
      guard(path, () => {
        writeDurably(path, content);
      });
    } else if (Buffer.compare(present, content) !== 0) {
      throw new ArchiveError('SPOOL_INVALID', `${path} is not the history that the server has`);
    }
    this.#options.onHistory(systemId, name);
  }
}

function readIfPresent(path: string): Uint8Array | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw spoolError(path, error);
  }
}
