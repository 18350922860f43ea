import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { Wire } from '../../src/postgres/replication/wire.ts';
import type { Session } from '../../src/postgres/login.ts';

/** A connection on loopback whose other side reads nothing until it is resumed. */
async function pair(): Promise<{ wire: Wire; socket: Socket; peer: Socket; close: () => void }> {
  const server = createServer({ pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [peer] = (await once(server, 'connection')) as [Socket];
  if (socket.connecting) await once(socket, 'connect');
  const session = {
    socket,
    host: 'test',
    parameters: new Map(),
    read: (receive) => socket.on('data', (bytes: Buffer) => receive(bytes)),
  } satisfies Partial<Session> as unknown as Session;
  const close = (): void => {
    socket.destroy();
    peer.destroy();
    server.close();
  };
  return { wire: new Wire(session, undefined), socket, peer, close };
}

test('short messages arrive whole and in order, past a socket that takes no more, from one buffer that is used again', async () => {
  const { wire, socket, peer, close } = await pair();
  try {
    const message = Buffer.alloc(39);
    let sent = 0;
    const send = (): void => {
      message.fill(0);
      message.writeUInt32BE(sent++, 1);
      wire.writeNow(message);
    };
    send();
    expect(socket.bytesWritten, 'the first one must not have gone through the stream').toBe(0);
    while (socket.writableLength < 100_000) send();
    const received: Buffer[] = [];
    let length = 0;
    peer.on('data', (bytes: Buffer) => {
      received.push(bytes);
      length += bytes.length;
    });
    peer.resume();
    while (length < sent * message.length) await once(peer, 'data');
    send();
    while (length < sent * message.length) await once(peer, 'data');
    const all = Buffer.concat(received);
    expect(all.length).toBe(sent * message.length);
    for (let at = 0; at < sent; at++) expect(all.readUInt32BE(at * message.length + 1)).toBe(at);
  } finally {
    close();
  }
});

test('a message to a peer that is gone ends the connection with its error, not the caller', async () => {
  const { wire, socket, peer, close } = await pair();
  try {
    const lost = new Promise((resolve) => {
      wire.begin('SHOW x', { message: () => undefined, lost: resolve });
    });
    peer.resetAndDestroy();
    while (!socket.destroyed) {
      wire.writeNow(Buffer.alloc(39));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await lost).toMatchObject({ code: 'SERVER_UNREACHABLE' });
    wire.writeNow(Buffer.alloc(39));
  } finally {
    close();
  }
});

test('the last words of a peer that is gone are read, though what is sent to it fails', async () => {
  const { wire, socket, peer, close } = await pair();
  try {
    const heard: string[] = [];
    const lost = new Promise((resolve) => {
      wire.begin('SHOW x', {
        message: () => undefined,
        copyData: (bytes) => heard.push(bytes.toString()),
        lost: resolve,
      });
    });
    socket.pause();
    peer.resume();
    peer.end(Buffer.from('d\0\0\0\x08last', 'latin1'));
    await once(peer, 'finish');
    peer.destroy();
    await once(peer, 'close');
    const fd = (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
    const isGone = (): boolean => {
      try {
        writeSync(fd, 'x');
        return false;
      } catch {
        return true;
      }
    };
    while (!isGone()) await new Promise((resolve) => setTimeout(resolve, 5));
    wire.writeNow(Buffer.alloc(39));
    expect(heard).toEqual([]);
    socket.resume();
    await lost;
    expect(heard).toEqual(['last']);
  } finally {
    close();
  }
});
