import type { Socket } from 'node:net';

/** Connections that have not shown a credential yet: the oldest makes room for the newest, so that they keep nobody out who has one. */
export class Strangers {
  readonly #most: number;
  readonly #open = new Map<string, Socket>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Takes a connection as it comes, before TLS. */
  take(socket: Socket): void {
    const key = peerOf(socket);
    this.#open.set(key, socket);
    socket.once('close', () => {
      if (this.#open.get(key) === socket) this.#open.delete(key);
    });
    const [oldest] = this.#open;
    if (oldest === undefined || this.#open.size <= this.#most) return;
    this.#open.delete(oldest[0]);
    oldest[1].destroy();
  }

  /** The other side of this connection, which may be within TLS, has shown a credential. */
  admit(socket: Socket): void {
    this.#open.delete(peerOf(socket));
  }
}

/** TLS has a socket of its own on top of the one that came. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${String(remoteAddress)} ${String(remotePort)}`;
}
