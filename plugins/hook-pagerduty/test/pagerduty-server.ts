/** The Events API v2 on loopback: it takes what PagerDuty's documentation allows, and keeps alerts as PagerDuty does. */
import { HttpReceiver, type ReceivedRequest, type ReceiverAnswer } from '../../../test/support/http-receiver.ts';

export const ROUTING_KEY = '0123456789abcdef0123456789abcdef';

export interface PagerDutyEvent {
  readonly routing_key: string;
  readonly event_action: 'trigger' | 'acknowledge' | 'resolve';
  readonly dedup_key: string;
  readonly payload?: {
    readonly summary: string;
    readonly source: string;
    readonly severity: string;
    readonly timestamp: string;
    readonly group?: string;
    readonly class?: string;
    readonly custom_details?: object;
  };
}

export class PagerDutyServer {
  readonly receiver: HttpReceiver;
  /** The events of each alert that is open, by its key. */
  readonly open: Map<string, PagerDutyEvent[]> = new Map();
  resolved = 0;

  private constructor(receiver: HttpReceiver) {
    this.receiver = receiver;
  }

  static async start(): Promise<PagerDutyServer> {
    const server = new PagerDutyServer(await HttpReceiver.listen());
    server.receiver.respond = (request) => server.#take(request);
    return server;
  }

  get endpoint(): string {
    return this.receiver.url('/v2/enqueue');
  }

  #take(request: ReceivedRequest): ReceiverAnswer {
    const errors = faultsOf(request);
    if (errors.length > 0) {
      return {
        status: 400,
        body: JSON.stringify({ status: 'invalid event', message: 'Event object is invalid', errors }),
      };
    }
    const event = JSON.parse(request.body) as PagerDutyEvent;
    if (event.event_action === 'trigger')
      this.open.set(event.dedup_key, [...(this.open.get(event.dedup_key) ?? []), event]);
    else if (this.open.delete(event.dedup_key)) this.resolved += 1;
    return {
      status: 202,
      body: JSON.stringify({ status: 'success', message: 'Event processed', dedup_key: event.dedup_key }),
    };
  }
}

/** https://developer.pagerduty.com/docs/events-api-v2-overview and "Send an alert event". */
function faultsOf({ method, path, headers, body }: ReceivedRequest): readonly string[] {
  if (method !== 'POST' || path !== '/v2/enqueue') return ['path'];
  if (headers['content-type'] !== 'application/json' || Buffer.byteLength(body) > 512 * 1024) return ['size or type'];
  const { routing_key: key, event_action: action, dedup_key: dedup, payload } = JSON.parse(body) as PagerDutyEvent;
  const faults: string[] = [];
  if (key.length !== 32) faults.push("Length of 'routing_key' is incorrect (should be 32 characters)");
  else if (key !== ROUTING_KEY) faults.push(`Invalid routing key ${key}`);
  if (!['trigger', 'acknowledge', 'resolve'].includes(action)) faults.push("'event_action' is invalid");
  if (dedup === '' || dedup.length > 255) faults.push("'dedup_key' is invalid");
  if (action !== 'trigger') return faults;
  if (payload === undefined) return [...faults, "'payload' is missing"];
  if (payload.summary === '' || payload.summary.length > 1024) faults.push("'summary' is invalid");
  if (payload.source === '') faults.push("'source' is missing");
  if (!['critical', 'error', 'warning', 'info'].includes(payload.severity)) faults.push("'severity' is invalid");
  if (new Date(payload.timestamp).toISOString() !== payload.timestamp) faults.push("'timestamp' is invalid");
  return faults;
}
