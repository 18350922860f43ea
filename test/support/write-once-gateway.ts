/**
 * A gateway to an S3 server that refuses every upload which could replace an object, as a policy of AWS does by the condition key
 * `s3:if-none-match`; versitygw does not know that key.
 */
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export class WriteOnceGateway {
  /** Uploads that were refused. */
  refused = 0;
  readonly #server: Server;

  private constructor(target: number) {
    this.#server = createServer((incoming, outgoing) => {
      if (mayReplace(incoming)) {
        this.refused++;
        incoming.on('end', () => {
          const answer =
            '<Error><Code>AccessDenied</Code><Message>explicit deny of the bucket policy</Message></Error>';
          outgoing.writeHead(403, { 'content-type': 'application/xml' }).end(answer);
        });
        incoming.resume();
        return;
      }
      const { method, url: path, headers } = incoming;
      const onward = request({ host: '127.0.0.1', port: target, method, path, headers }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      });
      onward.on('error', () => incoming.socket.destroy());
      outgoing.on('close', () => onward.destroy());
      incoming.pipe(onward);
    });
  }

  static async listen(target: number): Promise<WriteOnceGateway> {
    const gateway = new WriteOnceGateway(target);
    gateway.#server.listen(0, '127.0.0.1');
    await once(gateway.#server, 'listening');
    return gateway;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** Whether a request makes an object visible without asking whether there is one. */
function mayReplace({ method, url = '/', headers }: IncomingMessage): boolean {
  if (headers['if-none-match'] === '*') return false;
  const query = new URL(url, 'http://x').searchParams;
  if (method === 'POST') return query.has('uploadId');
  return method === 'PUT' && !['partNumber', 'retention', 'legal-hold'].some((name) => query.has(name));
}
