/** The pinging API of Healthchecks on loopback, with the one check that it knows. */
import { HttpReceiver, type ReceivedRequest, type ReceiverAnswer } from '../../../test/support/http-receiver.ts';

export const CHECK = '5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278';

export interface Ping {
  readonly kind: 'success' | 'start' | 'fail' | 'log';
  readonly run: string | undefined;
  readonly note: string;
}

export class HealthchecksServer {
  readonly receiver: HttpReceiver;
  readonly pings: Ping[] = [];

  private constructor(receiver: HttpReceiver) {
    this.receiver = receiver;
  }

  static async start(): Promise<HealthchecksServer> {
    const server = new HealthchecksServer(await HttpReceiver.listen());
    server.receiver.respond = (request) => server.#take(request);
    return server;
  }

  get url(): string {
    return this.receiver.url(`/ping/${CHECK}`);
  }

  /** https://healthchecks.io/docs/http_api */
  #take({ method, path, body }: ReceivedRequest): ReceiverAnswer {
    const { pathname, searchParams } = new URL(path, 'http://healthchecks');
    const [, check, kind = 'success'] =
      /^\/ping\/([0-9a-f-]{36}|key\/slug)(?:\/(start|fail|log))?$/.exec(pathname) ?? [];
    if (!['HEAD', 'GET', 'POST'].includes(method) || check === undefined) return { status: 404, body: 'not found' };
    if (check !== CHECK && check !== 'key/slug') return { status: 404, body: 'not found' };
    const run = searchParams.get('rid') ?? undefined;
    if (run !== undefined && !/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(run)) {
      return { status: 400, body: 'invalid uuid format' };
    }
    this.pings.push({ kind: kind as Ping['kind'], run, note: Buffer.from(body).subarray(0, 10_000).toString() });
    return { status: 200, body: 'OK' };
  }

  /** The runs that have a start, with how each ended. */
  runs(): readonly (string | undefined)[] {
    const starts = this.pings.filter(({ kind }) => kind === 'start');
    return starts.map(
      ({ run }) => this.pings.find((ping) => ping.run === run && ['success', 'fail'].includes(ping.kind))?.kind,
    );
  }
}
