import type { Role } from '../../config/config.ts';
import type { RecentRuns } from './recent-runs.ts';
import type { Turnstile } from './turnstile.ts';

/** Who has sent a request, as its credentials say. */
export interface Caller {
  /** Of the token, or the common name of the certificate. */
  readonly name: string;
  readonly role: Role;
}

/** What the routes behind the credentials find in their context. */
export interface HttpEnv {
  readonly Variables: {
    readonly caller: Caller;
    readonly recent: Pick<RecentRuns, 'of'>;
    /** That of the API: what reads the storage for one request has one limit. */
    readonly heavy: Turnstile;
  };
}
