import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface SlowReader {
  readonly port: number;
  /** How often it has let the other side wait. */
  readonly pauses: number;
  close(): Promise<void>;
}

/** An HTTP server that takes a body slowly: after each `every` bytes it takes none for `pause` milliseconds. */
export async function listenSlowly(
  options: { readonly every: number; readonly pause: number },
  answer: (response: ServerResponse, came: number) => void,
): Promise<SlowReader> {
  let pauses = 0;
  const server = createServer((request, response) => {
    let came = 0;
    let due = options.every;
    request.on('data', (data: Buffer) => {
      came += data.byteLength;
      if (came < due) return;
      due += options.every;
      pauses++;
      request.pause();
      setTimeout(() => request.resume(), options.pause);
    });
    request.on('end', () => answer(response, came));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    get pauses() {
      return pauses;
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
