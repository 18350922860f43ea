import type { CallOptions } from '../contracts/storage.ts';
import type { Repository } from '../repository/repository.ts';
import type { VerifyLevel } from './finding.ts';
import type { Journal } from './journal.ts';

/** What the parts of one verification share. */
export interface VerifySettings {
  readonly repository: Repository;
  readonly level: VerifyLevel;
  /** What a sample is drawn by. */
  readonly seed: number;
  /** Objects that are read at once. */
  readonly concurrency: number;
  readonly call: CallOptions;
  /** Milliseconds in which WAL near the end of a timeline may still come: several files are archived at once. */
  readonly patience: number;
  /** What an interrupted run has looked at already. */
  readonly journal: Journal;
  /** Told of plain bytes as they pass. */
  readonly onBytes: (bytes: number) => void;
  /** Told of plain bytes that are going to be read. */
  readonly onPlan: (bytes: number) => void;
}
