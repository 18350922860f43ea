/** What can happen to stored bytes. */
import type { Random } from '@pgark/sdk/testing';

export interface Damage {
  /** For the report: `cut at 1234 of 5678`. */
  readonly what: string;
  readonly bytes: Buffer;
}

type Kind = (random: Random, stream: Buffer, other: Buffer) => Damage;

const KINDS: readonly Kind[] = [
  function flip(random, stream) {
    const bytes = Buffer.from(stream);
    const bits = Array.from({ length: 1 + random.integer(3) }, () => random.integer(bytes.byteLength * 8));
    for (const bit of bits) bytes[bit >> 3]! ^= 1 << (bit & 7);
    return { what: `bits ${bits.join(', ')} flipped`, bytes };
  },
  function overwrite(random, stream) {
    const bytes = Buffer.from(stream);
    const [from, to] = range(random, bytes.byteLength);
    // A sector that was never written, or another file's.
    if (random.integer(2) === 0) bytes.fill(0, from, to);
    else bytes.set(random.bytes(to - from), from);
    return { what: `bytes ${from} to ${to} overwritten`, bytes };
  },
  function cut(random, stream) {
    const at = random.integer(stream.byteLength);
    return { what: `cut at ${at}`, bytes: stream.subarray(0, at) };
  },
  function cutAtTheBegin(random, stream) {
    const at = 1 + random.integer(stream.byteLength);
    return { what: `without its first ${at} bytes`, bytes: stream.subarray(at) };
  },
  function insert(random, stream) {
    const at = random.integer(stream.byteLength + 1);
    const more = random.bytes(1 + random.integer(64));
    return {
      what: `${more.byteLength} bytes inserted at ${at}`,
      bytes: Buffer.concat([stream.subarray(0, at), more, stream.subarray(at)]),
    };
  },
  function remove(random, stream) {
    const [from, to] = range(random, stream.byteLength);
    return {
      what: `bytes ${from} to ${to} left out`,
      bytes: Buffer.concat([stream.subarray(0, from), stream.subarray(to)]),
    };
  },
  function duplicate(random, stream) {
    const [from, to] = range(random, stream.byteLength);
    return {
      what: `bytes ${from} to ${to} doubled`,
      bytes: Buffer.concat([stream.subarray(0, to), stream.subarray(from)]),
    };
  },
  function swap(random, stream) {
    const length = 1 + random.integer(Math.max(1, Math.floor(stream.byteLength / 2)));
    const first = random.integer(Math.max(1, stream.byteLength - 2 * length + 1));
    const second = Math.min(stream.byteLength, first + length + random.integer(stream.byteLength - first - length + 1));
    const bytes = Buffer.from(stream);
    const moved = stream.subarray(second, second + length);
    bytes.set(moved, first);
    bytes.set(stream.subarray(first, first + moved.byteLength), second);
    return { what: `${moved.byteLength} bytes at ${first} and ${second} swapped`, bytes };
  },
  function splice(random, stream, other) {
    const at = random.integer(stream.byteLength + 1);
    // Often the same place in both: two streams of one format are alike there.
    const from = random.integer(2) === 0 ? Math.min(at, other.byteLength) : random.integer(other.byteLength + 1);
    return {
      what: `from ${at} on another stream from ${from} on`,
      bytes: Buffer.concat([stream.subarray(0, at), other.subarray(from)]),
    };
  },
  function join(_random, stream, other) {
    return { what: 'another stream behind it', bytes: Buffer.concat([stream, other]) };
  },
];

/** One damage of any kind to a stream that is not empty; `other` is a whole stream of the same codec. */
export function damage(random: Random, stream: Buffer, other: Buffer): Damage {
  return random.pick(KINDS)(random, stream, other);
}

/** A range of at least one byte, mostly short. */
function range(random: Random, length: number): readonly [from: number, to: number] {
  const from = random.integer(length);
  const most = random.integer(3) === 0 ? length - from : Math.min(length - from, 64);
  return [from, from + 1 + random.integer(most)];
}
