import { Readable } from 'node:stream';
import type { NodeHttpHandler } from '@smithy/node-http-handler';

type Request = Parameters<NodeHttpHandler['handle']>[0];

/** Options of a request as the SDK hands them on to what sends it. */
interface Sending {
  readonly abortSignal: AbortSignal;
  /** Told each time the connection has taken a slice of the body. */
  readonly moved?: () => void;
}

/** Bytes that are handed to a connection at a time: what progress is measured by. */
const SLICE = 256 * 1024;

/** The options for a request whose body may take long to send. */
export function sending(signal: AbortSignal, moved: () => void): Sending {
  return { abortSignal: signal, moved };
}

/**
 * Puts the body of a request in slices, where somebody wants to be told how it moves. The SDK has signed it and said how long it is by
 * now, so that only the way it is written to the connection changes; it makes each request anew.
 */
export function inSlices(request: Request, options: object = {}): Request {
  const body: unknown = request.body;
  const { moved } = options as Partial<Sending>;
  if (moved === undefined || !(body instanceof Uint8Array) || body.byteLength <= SLICE) return request;
  request.body = Readable.from(slices(body, moved), { objectMode: false, highWaterMark: SLICE });
  return request;
}

function* slices(body: Uint8Array, moved: () => void): Generator<Uint8Array> {
  for (let start = 0; start < body.byteLength; start += SLICE) {
    // The one before has been taken.
    moved();
    yield body.subarray(start, start + SLICE);
  }
}
