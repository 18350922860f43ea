/** The receiving side: connects, decides where to begin, streams WAL into the spool and acknowledges it. Runs in a thread of its own. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { hostOf, leaderFirst } from '../postgres/leader-first.ts';
import { ReplicationConnection } from '../postgres/replication/connection.ts';
import type { WalStream, WalStreamEnd } from '../postgres/replication/wal-stream.ts';
import { segmentStart } from '../postgres/wal-file.ts';
import { Acknowledger } from './acknowledger.ts';
import { Backoff, pause } from './backoff.ts';
import { gapError, gapText, measureGap } from './gap.ts';
import { heldWal } from './held-wal.ts';
import { asArchiveError, targetOf, type SystemInfo, type ThreadData } from './messages.ts';
import { ReceiverReports, type ReceiverPort } from './receiver-reports.ts';
import { endStream, type RunningStream } from './running-stream.ts';
import { SegmentWriter } from './segment-writer.ts';
import { ServerIdentity } from './server-identity.ts';
import { SliceOffer } from './slice-offer.ts';
import { ensureSlot } from './slot.ts';
import { guard } from './spool-error.ts';
import { Spool, type WalPosition } from './spool.ts';
import { TRY_AGAIN, trySlot } from './standing-by.ts';
import {
  agreedUpTo,
  checkDescent,
  durableFrom,
  firstPosition,
  leftBehind,
  precedes,
  type ServerState,
} from './start-position.ts';
import { canGoOn, retriable } from './verdict.ts';

export interface ReceiverEnd {
  readonly reason: 'stopped' | 'until';
  /** How far WAL is durable; undefined when none was received. */
  readonly position: WalPosition | undefined;
}

/** Milliseconds after which a server that has sent nothing is asked for a sign that the stream has begun. */
const SIGN_AFTER = 250;
/** Milliseconds between reports of how far the stream is. */
const TELL_EVERY = 2000;
/** Bytes that are flushed together while the server sends what it has in store. */
const CATCH_UP_BATCH = 4n * 1024n * 1024n;

export class Receiver {
  readonly #data: ThreadData;
  readonly #reports: ReceiverReports;
  readonly #spool: Spool;
  readonly #identity: ServerIdentity;
  readonly #slices: SliceOffer;
  /** Fires when the run is to end and no stream has to be ended in order first. */
  readonly #cancel = new AbortController();
  readonly #backoff = new Backoff({ first: 100, most: 10_000 });
  readonly #patience = new Backoff({ first: TRY_AGAIN, most: TRY_AGAIN });
  /** Another receiver has the slot; this one takes over when it is free. */
  #standingBy = false;
  /** The slot was made by this run and not used since: where it is says nothing of another receiver. */
  #isSlotNew = false;
  #stopping = false;
  #untilReached = false;
  #streamed = false;
  #writer: SegmentWriter | undefined;
  /** Where the next stream begins; undefined until this run has received, or stepped over a gap. */
  #position: WalPosition | undefined;
  /** The last byte that is durable, and its timeline. */
  #reached: WalPosition | undefined;
  /** How far the storage has confirmed WAL of the timeline that is streamed; what it has of another one says nothing of this. */
  #confirmed: WalPosition = { timeline: 0, lsn: 0n };
  /** The server said that it no longer has the WAL at this position. */
  #removed: WalPosition | undefined;
  #slotInvalidated = false;
  #lineage: ServerState['lineage'] = [];
  /** That what is held is held by this run or the spool. */
  #own = false;
  #running: RunningStream | undefined;
  #leader: string | undefined;
  /** Fires when a server that is left does not end its stream. */
  #leave = new AbortController();

  constructor(data: ThreadData, port: ReceiverPort) {
    this.#data = data;
    this.#reports = new ReceiverReports(port, this.#cancel.signal);
    this.#spool = new Spool(data.root, data.cluster);
    this.#slices = new SliceOffer((slice) => {
      port.post({ type: 'slice', slice });
    });
    this.#identity = new ServerIdentity({
      spool: this.#spool,
      onSystem: (info, folder) => {
        port.post({ type: 'system', info });
        this.#writer = guard(folder, () => this.#newWriter(info, folder));
      },
      onHistory: (systemId, name) => {
        port.post({ type: 'file', systemId, name });
      },
      onWarning: (message) => {
        this.#reports.note('warn', message);
      },
    });
  }

  #newWriter({ systemId, segmentSize }: SystemInfo, folder: string): SegmentWriter {
    return new SegmentWriter({
      folder,
      segmentSize,
      onOpened: (name) => {
        this.#opened(systemId, name);
      },
      onFinished: (name) => {
        this.#reports.post({ type: 'file', systemId, name });
      },
    });
  }

  /** Receives until stopped. Throws what cannot be overcome by trying again. */
  async run(): Promise<ReceiverEnd> {
    this.#reports.enter('connecting', 'connecting to the server');
    try {
      while (!this.#stopping && !this.#untilReached) {
        try {
          await this.#connect();
        } catch (error) {
          if (this.#stopping && isArchiveError(error, 'ABORTED')) break;
          if (this.#leave.signal.aborted && isArchiveError(error, 'ABORTED')) continue;
          const wait = this.#handle(asArchiveError(error));
          if (!this.#stopping) await pause(wait, this.#cancel.signal);
        }
      }
    } finally {
      await this.#writer?.close();
    }
    return { reason: this.#untilReached ? 'until' : 'stopped', position: this.#reached };
  }

  /** Ends the run: what was received is made durable and reported, the stream is ended in order. */
  stop(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    if (this.#running === undefined) this.#cancel.abort();
    else this.#end(this.#running, this.#cancel);
  }

  /** A cluster manager says which host leads: another one that answers as a primary, too, is left. */
  lead(leader: string): void {
    if (!this.#data.target.target.hosts.some(({ host }) => host === leader)) return;
    this.#leader = leader;
    const running = this.#running;
    if (running === undefined || hostOf(running.host) === leader) return;
    this.#reports.note('warn', `${leader} leads the cluster: leaving ${running.host}`);
    this.#end(running, this.#leave);
  }

  #end(running: RunningStream, giveUp: AbortController): void {
    endStream(running, {
      sync: () => this.#sync(),
      onWarning: (message) => this.#reports.note('warn', message),
      giveUp,
    });
  }

  /** The storage has WAL up to here. */
  confirm({ timeline, lsn }: WalPosition): void {
    if (timeline !== this.#confirmed.timeline || lsn <= this.#confirmed.lsn) return;
    this.#confirmed = { timeline, lsn };
    this.#running?.acknowledger.confirm(lsn);
  }

  /** The next durable bytes of the open segment are wanted. */
  wantSlice(): void {
    this.#slices.want();
    if (this.#writer !== undefined) this.#slices.offer(this.#writer);
  }

  async #connect(): Promise<void> {
    this.#leave = new AbortController();
    const signal = AbortSignal.any([this.#cancel.signal, this.#leave.signal]);
    const target = leaderFirst(targetOf(this.#data.target), this.#leader);
    const connection = await ReplicationConnection.open(target, { signal });
    try {
      for (;;) {
        const server = await this.#identity.check(connection);
        if (this.#standingBy) await trySlot(connection, this.#data.slot, server);
        const position = await this.#decide(connection, server);
        const end = await this.#receive(connection, server, position);
        if (end.reason === 'timeline-end') this.#nextTimeline(position, end, server);
        else if (end.reason === 'stopped') return;
        else throw new ArchiveError('SERVER_UNREACHABLE', `${connection.host} was shut down`);
      }
    } finally {
      await connection.close();
    }
  }

  /** Decides where to begin; see the table in start-position.ts. */
  async #decide(connection: ReplicationConnection, server: ServerState): Promise<WalPosition> {
    const { slot, createSlot } = this.#data;
    const { state, made } = await ensureSlot(connection, slot, {
      create: createSlot,
      invalidated: this.#slotInvalidated,
    });
    this.#slotInvalidated = false;
    if (made !== undefined) {
      this.#isSlotNew = true;
      this.#reports.note('info', `created replication slot "${slot}" on ${server.host}`);
    }
    const { held, own } = await heldWal(server, {
      position: this.#position,
      spool: this.#spool,
      slot: state,
      isSlotNew: this.#isSlotNew,
      furthest: this.#removed !== undefined,
      reports: this.#reports,
    });
    this.#own = own;
    const lost = this.#reached && leftBehind(this.#reached, server);
    if (lost !== undefined) {
      this.#reports.enter('TIMELINE_DIVERGED', lost.message);
      this.#reached = lost.reached;
    }
    const position = checkDescent(held, server, this.#data.acceptTimeline);
    if (position === undefined) return firstPosition(state, server);
    if (made !== undefined) {
      const what = made === 'SLOT_MISSING' ? `has no slot "${slot}"` : `keeps no WAL for slot "${slot}"`;
      this.#reports.enter(made, `${server.host} ${what}: it was made anew, WAL may be lost`);
    }
    if (this.#removed === undefined || precedes(this.#removed, position, server.lineage)) return position;

    const gap = await measureGap(connection, server, { name: slot, state }, position);
    const stepOver = this.#data.onGap === 'continue';
    const question = { kind: 'gap', systemId: server.systemId, gap, record: stepOver, own: this.#own } as const;
    const unasked = (await this.#reports.ask(question)) as readonly string[];
    if (!stepOver) throw gapError(gap, unasked);
    this.#reports.enter(unasked.length === 0 ? 'WAL_GAP' : 'REPOSITORY_BEHIND', gapText(gap, unasked));
    this.#removed = undefined;
    this.#reached = undefined;
    this.#position = gap.to;
    return gap.to;
  }

  async #receive(connection: ReplicationConnection, server: ServerState, position: WalPosition): Promise<WalStreamEnd> {
    const writer = this.#writer;
    if (writer === undefined) throw new ArchiveError('INTERNAL', 'a stream was begun without a spool');
    const { timeline, lsn } = position;
    this.#lineage = server.lineage;
    writer.begin(timeline, lsn);
    this.#confirmed = { timeline, lsn: agreedUpTo(this.#confirmed, server) ?? 0n };
    let connected = false;
    let behind = false;
    let serverEnd = lsn;
    const onSign = (): void => {
      if (connected) return;
      connected = true;
      clearInterval(sign);
      this.#connected(server.host, position);
    };
    const stream = connection.startReplication(
      { slot: this.#data.slot, lsn, timeline },
      {
        data: (start, walEnd, chunk) => {
          writer.write(start, chunk);
          serverEnd = walEnd;
          behind = walEnd > writer.written;
          onSign();
        },
        keepalive: (walEnd, replyRequested) => {
          serverEnd = walEnd;
          onSign();
          if (!replyRequested) return;
          this.#sync();
          acknowledger.requested();
          if (this.#data.ack === 'remote') this.#reports.post({ type: 'hurry' });
        },
        drained: () => {
          // While the server has more to send at once, one flush serves many reads.
          if (behind && writer.written - writer.durable < CATCH_UP_BATCH) return;
          this.#sync();
          this.#checkUntil(stream);
        },
      },
    );
    const acknowledger = new Acknowledger({
      policy: this.#data.ack,
      floor: durableFrom(position, this.#reached, server),
      confirmed: this.#confirmed.lsn,
      send: (status, requestReply) => {
        stream.status(status, { requestReply });
      },
    });
    const report = setInterval(() => {
      acknowledger.tick();
    }, this.#data.statusInterval);
    const sign = setInterval(() => {
      acknowledger.tick(true);
    }, SIGN_AFTER);
    const positions = setInterval(() => {
      const { written: received, durable: flushed } = writer;
      if (connected) this.#reports.post({ type: 'position', position: { timeline, received, flushed, serverEnd } });
    }, TELL_EVERY);
    this.#running = { host: server.host, stream, acknowledger, timeline };
    if (this.#stopping) stream.stop();
    try {
      const end = await stream.ended;
      // Nothing comes back to the end of a timeline: it is durable before the next one begins.
      if (end.reason === 'timeline-end') writer.sync();
      return end;
    } catch (error) {
      if (isArchiveError(error, 'WAL_GAP') && !connected) this.#removed = position;
      // A standby may still get the WAL that it lacks now.
      if (isArchiveError(error, 'TIMELINE_DIVERGED') && server.inRecovery) throw retriable(error);
      throw error;
    } finally {
      for (const timer of [report, sign, positions]) clearInterval(timer);
      acknowledger.close();
      this.#running = undefined;
      if (connected) this.#position = { timeline, lsn: segmentStart(writer.durable, server.segmentSize) };
      writer.release();
    }
  }

  #sync(): void {
    const writer = this.#writer;
    const running = this.#running;
    if (writer === undefined || running === undefined) return;
    writer.sync();
    const { timeline } = running;
    if (this.#reached?.timeline !== timeline || writer.durable > this.#reached.lsn) {
      this.#reached = { timeline, lsn: writer.durable };
    }
    running.acknowledger.durable(writer.durable);
    this.#slices.offer(writer);
  }

  #checkUntil(stream: WalStream): void {
    const { until } = this.#data;
    if (until === undefined || this.#writer === undefined || this.#writer.durable < until) return;
    this.#untilReached = true;
    stream.stop();
  }

  #connected(host: string, { timeline, lsn }: WalPosition): void {
    this.#streamed = true;
    this.#removed = undefined;
    this.#backoff.reset();
    this.#reports.event({ name: 'receive.connected', data: { host, timeline, lsn: formatLsn(lsn) } });
    const how = this.#standingBy ? 'took over, streaming' : 'streaming';
    this.#standingBy = false;
    this.#isSlotNew = false;
    this.#reports.enter('streaming', `${how} timeline ${timeline} from ${formatLsn(lsn)} of ${host}`);
  }

  #nextTimeline(
    { timeline }: WalPosition,
    end: { readonly nextTimeline: number; readonly nextStart: bigint },
    server: ServerState,
  ): void {
    this.#position = { timeline: end.nextTimeline, lsn: segmentStart(end.nextStart, server.segmentSize) };
    // The last bytes of a timeline may be a part of a record that the next one does not have.
    this.#reached = { timeline, lsn: end.nextStart };
    const lsn = formatLsn(end.nextStart);
    this.#reports.event({ name: 'wal.timeline', data: { from: timeline, to: end.nextTimeline, lsn } });
  }

  /**
   * A segment was opened. Partial segments beside it will never be written again: they are ends of timelines, or of
   * WAL before a gap. Only now may they leave: without this segment they would be what the next start goes on from (H-04).
   */
  #opened(systemId: string, name: string): void {
    this.#reports.post({ type: 'opened', name, start: this.#writer?.written ?? 0n, lineage: this.#lineage });
    this.#slices.opened(name);
    for (const { file } of this.#spool.files(systemId)) {
      if (file.kind === 'partial' && file.name !== `${name}.partial`) {
        this.#reports.post({ type: 'file', systemId, name: file.name });
      }
    }
  }

  /** Names what went wrong, and gives the milliseconds to the next try; throws when that cannot help. */
  #handle(error: ArchiveError): number {
    const { code, message } = error;
    if (this.#reports.state === 'streaming')
      this.#reports.event({ name: 'receive.disconnected', data: { code, message } });
    if (code === 'SLOT_BUSY') {
      this.#standingBy = true;
      this.#isSlotNew = false;
      this.#reports.enter('standing-by', `another receiver streams: standing by (${message})`);
      this.#backoff.reset();
      return this.#patience.next();
    }
    this.#reports.enter(code, message);
    if (code === 'SPOOL_FULL') void this.#writer?.close();
    if (code === 'SLOT_INVALIDATED') this.#slotInvalidated = true;
    if (!canGoOn(error, { streamed: this.#streamed, createSlot: this.#data.createSlot })) throw error;
    return this.#backoff.next();
  }
}
