import type { CallOptions } from '../contracts/storage.ts';
import type { WalReader } from '../repository/wal.ts';
import type { Lineage } from './lineage.ts';

/** What the parts of planning share. */
export interface PlanContext extends CallOptions {
  readonly archive: WalReader;
  readonly systemId: string;
  readonly lineage: Lineage;
  /** The folder of the spool that holds the system's segments. */
  readonly spool?: string;
  /** Whether the plan is for a standby, which follows the newest timeline. */
  readonly standby: boolean;
  readonly onProgress: (text: string) => void;
}
