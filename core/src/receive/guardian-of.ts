import type { EventSink } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import { Guardian } from '../guardian/guardian.ts';
import type { SystemInfo } from './messages.ts';
import type { Outlet } from './outlet.ts';
import type { ReceiveOptions } from './receive.ts';
import type { Shipper } from './shipper.ts';

export interface GuardianOfOptions {
  readonly options: Pick<ReceiveOptions, 'target' | 'config' | 'takeBackup'>;
  readonly system: SystemInfo;
  readonly outlets: readonly Outlet[];
  readonly shipper: Shipper;
  /** For segments that come from a server. */
  readonly folder: string;
  readonly isStreaming: () => boolean;
  /** A cluster manager says that another host leads than before. */
  readonly onLeader: (host: string) => void;
  readonly onEvent: EventSink;
  readonly logger: Logger;
}

/** The guardian of one run of the receiver; undefined when the config wants none. */
export function guardianOf({ options, system, outlets, shipper, ...rest }: GuardianOfOptions): Guardian | undefined {
  const { target, config, takeBackup } = options;
  const { guardian, slot, createSlot } = config;
  if (guardian === undefined) return undefined;
  return new Guardian({
    ...rest,
    ...system,
    target,
    slot,
    config: createSlot ? guardian : { ...guardian, slots: 'primary' },
    repositories: outlets.map((outlet) => ({
      repository: outlet.repository,
      check: (signal) => outlet.check(signal),
      coming: () => shipper.coming(outlet),
    })),
    ...(takeBackup !== undefined && { takeBackup }),
  });
}
