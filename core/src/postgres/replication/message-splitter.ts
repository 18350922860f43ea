/**
 * Cuts the bytes of a connection into messages (PostgreSQL docs, "Message Formats": a type byte and a length that counts
 * itself). The payload of CopyData, nearly all that an archive receives, is handed on as it comes, in fragments and without a copy;
 * every other message is handed on whole.
 */
import { ArchiveError } from '../../contracts/errors.ts';

/** Receives what the splitter finds. All bytes are views that are valid only during the call. */
export interface MessageSink {
  /** A whole message with its type and length. */
  message(bytes: Buffer): void;
  /**
   * Part of a CopyData payload of `length` bytes, beginning at `offset` of it. The first fragment has at least the first
   * {@link FIRST_FRAGMENT} bytes, or all if there are fewer; the others have at least one byte.
   */
  copyData(fragment: Buffer, offset: number, length: number): void;
}

/** Bytes that the first fragment of a payload holds at least: more than any header of a replication message. */
export const FIRST_FRAGMENT = 64;

const HEADER = 5;
const COPY_DATA = 0x64; // 'd'
/** No message but CopyData is nearly as long; a longer one means that this is not PostgreSQL, or no longer. */
const LONGEST = 64 * 1024 * 1024;

export class MessageSplitter {
  readonly #sink: MessageSink;
  /** The beginning of what could not be handed on yet. */
  readonly #held = Buffer.allocUnsafe(HEADER + FIRST_FRAGMENT);
  #heldLength = 0;
  /** Of the payload under way: its length, and how much was handed on. */
  #length = 0;
  #offset = 0;
  /** A message that lies in several reads. */
  #whole: Buffer | undefined;
  #wholeLength = 0;

  constructor(sink: MessageSink) {
    this.#sink = sink;
  }

  /** Takes the next bytes of the connection. Errors: `STREAM_PROTOCOL`, and what the sink throws. */
  push(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#whole !== undefined) at = this.#fill(bytes, at, this.#whole);
      else if (this.#offset < this.#length) at = this.#copy(bytes, at);
      else at = this.#begin(bytes, at);
    }
  }

  /** More of the payload under way. */
  #copy(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#length - this.#offset);
    const offset = this.#offset;
    this.#offset += end - at;
    this.#sink.copyData(bytes.subarray(at, end), offset, this.#length);
    return end;
  }

  /** More of a message that began in an earlier read. */
  #fill(bytes: Buffer, at: number, whole: Buffer): number {
    const end = Math.min(bytes.length, at + whole.length - this.#wholeLength);
    bytes.copy(whole, this.#wholeLength, at, end);
    this.#wholeLength += end - at;
    if (this.#wholeLength === whole.length) {
      this.#whole = undefined;
      this.#sink.message(whole);
    }
    return end;
  }

  /** The beginning of a message, if enough of it is there; otherwise it is held until more comes. */
  #begin(bytes: Buffer, at: number): number {
    if (this.#heldLength > 0 || bytes.length - at < HEADER) return this.#hold(bytes, at);
    const length = messageLength(bytes, at);
    if (bytes[at] !== COPY_DATA) return this.#message(bytes, at, 1 + length);
    const payload = length - 4;
    if (bytes.length - at - HEADER < Math.min(payload, FIRST_FRAGMENT)) return this.#hold(bytes, at);
    if (payload === 0) this.#sink.copyData(bytes.subarray(at, at), 0, 0);
    this.#length = payload;
    this.#offset = 0;
    return at + HEADER;
  }

  #message(bytes: Buffer, at: number, length: number): number {
    if (bytes.length - at >= length) {
      this.#sink.message(bytes.subarray(at, at + length));
      return at + length;
    }
    this.#whole = Buffer.allocUnsafe(length);
    this.#wholeLength = 0;
    return at;
  }

  /** Gathers a header, and of CopyData the first bytes of the payload. */
  #hold(bytes: Buffer, at: number): number {
    const wanted = this.#heldLength < HEADER ? HEADER : HEADER + this.#heldPayload();
    const end = Math.min(bytes.length, at + wanted - this.#heldLength);
    bytes.copy(this.#held, this.#heldLength, at, end);
    this.#heldLength += end - at;
    if (this.#heldLength < HEADER) return end;
    const length = messageLength(this.#held, 0);
    if (this.#held[0] !== COPY_DATA) {
      this.#whole = Buffer.allocUnsafe(1 + length);
      this.#wholeLength = this.#held.copy(this.#whole, 0, 0, HEADER);
      this.#heldLength = 0;
      if (this.#wholeLength === this.#whole.length) return this.#fill(bytes, end, this.#whole);
      return end;
    }
    if (this.#heldLength < HEADER + this.#heldPayload()) return end;
    const held = this.#held.subarray(HEADER, this.#heldLength);
    this.#heldLength = 0;
    this.#length = length - 4;
    this.#offset = held.length;
    this.#sink.copyData(held, 0, this.#length);
    return end;
  }

  #heldPayload(): number {
    return Math.min(messageLength(this.#held, 0) - 4, FIRST_FRAGMENT);
  }
}

function messageLength(bytes: Buffer, at: number): number {
  const length = bytes.readInt32BE(at + 1);
  if (length >= 4 && length <= LONGEST) return length;
  throw new ArchiveError('STREAM_PROTOCOL', `the server sent a message of ${length} bytes`);
}
