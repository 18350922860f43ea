import type { Logger } from '../contracts/plugin.ts';
import { segmentName, segmentNumber } from '../postgres/wal-file.ts';
import { TimesRecorder } from '../times/times-recorder.ts';
import type { Slice, SystemInfo } from './messages.ts';
import type { Outlet } from './outlet.ts';
import type { Spool, WalPosition } from './spool.ts';

export interface ReceivedTimesOptions {
  readonly spool: Spool;
  readonly outlets: readonly Outlet[];
  readonly logger: Logger;
}

/** Milliseconds for what is written at the end of a run. */
const STOP = 5000;

/** Keeps in all repositories of a receiver when the transactions ended that it ships. */
export class ReceivedTimes {
  readonly #options: ReceivedTimesOptions;
  readonly #recorders = new Map<string, TimesRecorder>();

  constructor(options: ReceivedTimesOptions) {
    this.#options = options;
  }

  of(systemId: string): TimesRecorder {
    const known = this.#recorders.get(systemId);
    if (known !== undefined) return known;
    const { outlets, logger } = this.#options;
    const recorder = new TimesRecorder({
      systemId,
      outlets: outlets.map((outlet) => ({
        name: outlet.name,
        add: async (segments, options) => {
          // Never into the empty folder below a disk that is not mounted.
          await outlet.check(options.signal ?? new AbortController().signal);
          await outlet.repository.times(systemId).add(segments, options);
        },
      })),
      logger,
    });
    this.#recorders.set(systemId, recorder);
    return recorder;
  }

  /** The open segment, as far as it is durable: it may be finished, and renamed, at any time. */
  slice({ systemId, segmentSize }: SystemInfo, { name, to }: Pick<Slice, 'name' | 'to'>): void {
    const path = this.#options.spool.path(systemId, name);
    this.#recorders.get(systemId)?.take({ name, segmentSize, to }, [`${path}.partial`, path]);
  }

  /** What of the open segment is archived at the end of a run. */
  end(system: SystemInfo, { timeline, lsn }: WalPosition): void {
    const { segmentSize } = system;
    const to = Number(lsn % BigInt(segmentSize));
    if (to > 0) this.slice(system, { name: segmentName(timeline, segmentNumber(lsn, segmentSize), segmentSize), to });
  }

  /** Writes what there is, within a time in milliseconds. */
  async finish(milliseconds: number): Promise<void> {
    const time = Math.min(STOP, Math.max(0, milliseconds));
    await Promise.all([...this.#recorders.values()].map((recorder) => recorder.finish(time)));
  }
}
