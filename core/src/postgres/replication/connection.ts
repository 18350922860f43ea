/**
 * A physical replication connection: the commands of the streaming replication protocol
 * (PostgreSQL docs, "Streaming Replication Protocol") that an archive needs.
 */
import type { BackendMessage, DataRowMessage } from 'pg-protocol/dist/messages.js';
import type { DatabaseError } from 'pg-protocol';
import { ArchiveError } from '../../contracts/errors.ts';
import { openSession } from '../connect.ts';
import { parseLsn } from '../lsn.ts';
import { serverError } from '../server-error.ts';
import type { ConnectionTarget } from '../target.ts';
import { isSegmentSize } from '../wal-file.ts';
import {
  runBaseBackup,
  type BaseBackupHandlers,
  type BaseBackupOptions,
  type BaseBackupResult,
} from './base-backup.ts';
import { startWalStream, type StartPosition, type WalHandlers, type WalStream } from './wal-stream.ts';
import { Wire } from './wire.ts';

export interface ReplicationOptions {
  /** Cuts the opening and the opened connection at once; what runs then rejects with `ABORTED`. */
  readonly signal?: AbortSignal;
  /**
   * Milliseconds without a byte from the server after which a command or a WAL stream counts as lost, default 60 000.
   * A WAL stream asks for a sign of life at half of it.
   */
  readonly receiveTimeout?: number;
}

/** Who the server is and how far its WAL is. */
export interface SystemIdentity {
  /** 64-bit number as text: it does not fit a JavaScript number. */
  readonly systemId: string;
  readonly timeline: number;
  readonly flushLsn: bigint;
}

/** What the server says about a slot. `unreserved` is one that never reserved WAL, or that was invalidated. */
export type SlotState =
  | { readonly state: 'missing' }
  | { readonly state: 'unreserved' }
  | { readonly state: 'reserved'; readonly restartLsn: bigint; readonly restartTimeline: number };

const OLDEST_VERSION = 150_000;
const DEFAULT_TIMEOUT = 60_000;

/** One connection; one command at a time. Any method throws what ended the connection when it is gone. */
export class ReplicationConnection {
  /** The host that was reached, `db1:5432`. */
  readonly host: string;
  /** Such as 180004. */
  readonly serverVersion: number;
  readonly #wire: Wire;
  readonly #timeout: number;

  private constructor(wire: Wire, serverVersion: number, timeout: number) {
    this.#wire = wire;
    this.host = wire.host;
    this.serverVersion = serverVersion;
    this.#timeout = timeout;
  }

  /** Connects to the first host that matches. Throws `SERVER_*`, `ABORTED`. */
  static async open(target: ConnectionTarget, options: ReplicationOptions = {}): Promise<ReplicationConnection> {
    const session = await openSession(target, {
      replication: true,
      ...(options.signal !== undefined && { signal: options.signal }),
    });
    const wire = new Wire(session, options.signal);
    const text = session.parameters.get('server_version') ?? '';
    const [, major = '0', minor = '0'] = /^(\d+)(?:\.(\d+))?/.exec(text) ?? [];
    const version = Number(major) * 10_000 + Number(minor);
    if (version < OLDEST_VERSION) {
      const error = new ArchiveError(
        'SERVER_UNSUPPORTED',
        `${wire.host} runs PostgreSQL ${text || 'of an unknown version'}`,
      );
      wire.fail(error);
      throw error;
    }
    return new ReplicationConnection(wire, version, options.receiveTimeout ?? DEFAULT_TIMEOUT);
  }

  /** Whether the server was a standby when it last said so (it says so after a command, not while it streams). */
  get inRecovery(): boolean {
    return this.#wire.parameters.get('in_hot_standby') === 'on';
  }

  async identifySystem(): Promise<SystemIdentity> {
    const [systemId, timeline, flushLsn] = await this.#row('IDENTIFY_SYSTEM');
    if (systemId == null || timeline == null || flushLsn == null) {
      throw this.#wire.protocolError('an incomplete answer to IDENTIFY_SYSTEM');
    }
    return { systemId, timeline: Number(timeline), flushLsn: parseLsn(flushLsn) };
  }

  /** The value of a setting as `SHOW` prints it. Throws `SERVER_ERROR` when there is no such setting. */
  async show(setting: string): Promise<string> {
    const [value] = await this.#row(`SHOW ${identifier(setting)}`);
    if (value == null) throw this.#wire.protocolError(`no value for SHOW ${setting}`);
    return value;
  }

  /** Bytes of a WAL segment, a power of two from 1 MB to 1 GB. */
  async segmentSize(): Promise<number> {
    const text = await this.show('wal_segment_size');
    const match = /^(\d+)(MB|GB)$/.exec(text);
    const size = match === null ? 0 : Number(match[1]) * (match[2] === 'GB' ? 1 << 30 : 1 << 20);
    if (!isSegmentSize(size)) throw this.#wire.protocolError(`a WAL segment size of "${text}"`);
    return size;
  }

  /** A timeline's history file, byte for byte. Timeline 1 has none: `SERVER_ERROR` with SQLSTATE 58P01. */
  async timelineHistory(timeline: number): Promise<{ readonly name: string; readonly content: Uint8Array }> {
    this.#wire.capture(true);
    let row: readonly (string | null)[] = [];
    let raw: Buffer;
    try {
      row = await this.#row(`TIMELINE_HISTORY ${timeline}`);
    } finally {
      raw = this.#wire.capture(false);
    }
    // The content is bytes declared as text, which the parser decodes as UTF-8: read it from the raw message.
    const name = row[0];
    const content = rawFields(raw)[1];
    if (name == null || content === undefined)
      throw this.#wire.protocolError(`no content for TIMELINE_HISTORY ${timeline}`);
    return { name, content };
  }

  async readSlot(name: string): Promise<SlotState> {
    const [type, restartLsn, restartTimeline] = await this.#row(`READ_REPLICATION_SLOT ${slotName(name)}`, name);
    if (type == null) return { state: 'missing' };
    if (restartLsn == null || restartTimeline == null) return { state: 'unreserved' };
    return { state: 'reserved', restartLsn: parseLsn(restartLsn), restartTimeline: Number(restartTimeline) };
  }

  /** Makes a physical slot that reserves WAL from the last checkpoint on. A name in use is `SERVER_ERROR` with SQLSTATE 42710. */
  async createSlot(name: string, options: { readonly temporary?: boolean } = {}): Promise<void> {
    const temporary = options.temporary === true ? 'TEMPORARY ' : '';
    await this.#rows(`CREATE_REPLICATION_SLOT ${slotName(name)} ${temporary}PHYSICAL (RESERVE_WAL)`, name);
  }

  /** Throws `SLOT_MISSING`, `SLOT_BUSY`. */
  async dropSlot(name: string): Promise<void> {
    await this.#rows(`DROP_REPLICATION_SLOT ${slotName(name)}`, name);
  }

  /** Streams WAL; see {@link WalStream} and {@link WalHandlers}. The connection is busy until `ended` settles. */
  startReplication(position: StartPosition, handlers: WalHandlers): WalStream {
    if (position.slot !== undefined) slotName(position.slot);
    return startWalStream(this.#wire, position, handlers, this.#timeout);
  }

  /** Takes a base backup; see {@link BaseBackupHandlers}. */
  baseBackup(options: BaseBackupOptions, handlers: BaseBackupHandlers): Promise<BaseBackupResult> {
    return runBaseBackup(this.#wire, options, handlers);
  }

  /** Says goodbye. Never throws. */
  close(): Promise<void> {
    return this.#wire.close();
  }

  /** Cuts the connection now; what runs rejects with `ABORTED`. */
  destroy(): void {
    this.#wire.fail(new ArchiveError('ABORTED', `the replication connection to ${this.host} was cut by this side`));
  }

  async #row(command: string, slot?: string): Promise<readonly (string | null)[]> {
    const [row, ...more] = await this.#rows(command, slot);
    if (row === undefined || more.length > 0) throw this.#wire.protocolError(`not one row for ${command}`);
    return row;
  }

  #rows(command: string, slot?: string): Promise<readonly (readonly (string | null)[])[]> {
    return new Promise((resolve, reject) => {
      const rows: (string | null)[][] = [];
      let failure: ArchiveError | undefined;
      const timer = setTimeout(() => {
        this.#wire.fail(
          new ArchiveError('SERVER_UNREACHABLE', `${this.host} gave no answer to ${command} in ${this.#timeout} ms`),
        );
      }, this.#timeout);
      const message = (received: BackendMessage): void => {
        switch (received.name) {
          case 'dataRow':
            rows.push((received as DataRowMessage).fields as (string | null)[]);
            return;
          case 'error':
            failure = serverError(received as BackendMessage & DatabaseError, {
              host: this.host,
              ...(slot !== undefined && { slot }),
            });
            return;
          case 'readyForQuery':
            clearTimeout(timer);
            this.#wire.end();
            if (failure === undefined) resolve(rows);
            else reject(failure);
            return;
          case 'rowDescription':
          case 'commandComplete':
            return;
          default:
            throw this.#wire.protocolError(`an unexpected "${received.name}" for ${command}`);
        }
      };
      const lost = (error: unknown): void => {
        clearTimeout(timer);
        reject(failure ?? error);
      };
      try {
        this.#wire.begin(command, { message, lost });
      } catch (error) {
        lost(error);
      }
    });
  }
}

/** PostgreSQL allows slot names of `[a-z0-9_]`, at most 63. */
function slotName(name: string): string {
  if (!/^[a-z0-9_]{1,63}$/.test(name)) {
    throw new ArchiveError('CONFIG_INVALID', `not a name for a replication slot: "${name}"`, {
      hint: 'A slot name has 1 to 63 lower case letters, digits and underscores.',
    });
  }
  return `"${name}"`;
}

function identifier(name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_.]*$/.test(name)) throw new ArchiveError('USAGE', `not the name of a setting: "${name}"`);
  return name;
}

/** The fields of the first DataRow among raw messages (code, length, int16 count, then int32 length and bytes of each). */
function rawFields(raw: Buffer): readonly (Uint8Array | undefined)[] {
  for (let at = 0; at + 5 <= raw.length; at += 1 + raw.readUInt32BE(at + 1)) {
    if (raw[at] !== 0x44) continue;
    const fields: (Uint8Array | undefined)[] = [];
    let offset = at + 7;
    for (let left = raw.readUInt16BE(at + 5); left > 0; left--) {
      const length = raw.readInt32BE(offset);
      offset += 4;
      fields.push(length < 0 ? undefined : raw.subarray(offset, offset + length));
      offset += Math.max(length, 0);
    }
    return fields;
  }
  return [];
}
