/**
 * A small codec with keys, for the tests of the codec suite: each of its protections can be left out, to see that the suite notices.
 * A stream is a header (`SEAL`, version, key id, salt, all under a MAC) and records (length and last mark, AES-256-GCM); the key of the
 * records comes from the salt, their nonce is their number.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { abortable, ArchiveError, type Codec, type CodecContext, type KeyUse } from '@pgark/sdk';

/** What may be left out. */
export type SealingFault =
  /** The number of a record is not in its nonce. */
  | 'order'
  /** All streams of a key share the key of the records. */
  | 'stream-key'
  /** Any version is read. */
  | 'version'
  /** A key of another id is tried, too. */
  | 'key-id'
  /** What is behind the last record is not looked at. */
  | 'end'
  /** Without a key it writes for no key at all. */
  | 'plain'
  | 'inspect-reads-all'
  | 'inspect-leaves-open'
  | 'inspect-knows-no-keys'
  | 'inspect-takes-anything'
  | 'inspect-cannot-be-cancelled'
  | 'no-inspect'
  | 'tells-its-key';

/** The protections that a codec with keys may lack, and the clauses that must find each. */
export const SEALING_FAULTS: Readonly<Record<SealingFault, readonly string[]>> = {
  order: ['CODEC-03/reordered'],
  'stream-key': ['CODEC-03/spliced'],
  version: ['CODEC-03/future'],
  'key-id': ['CODEC-08/other-key'],
  end: ['CODEC-03/concatenated', 'CODEC-03/garbage'],
  plain: ['CODEC-08/read-only'],
  'inspect-reads-all': ['CODEC-08/inspect'],
  'inspect-leaves-open': ['CODEC-08/inspect'],
  'inspect-knows-no-keys': ['CODEC-08/inspect', 'CODEC-08/other-key', 'CODEC-08/write-only'],
  'inspect-takes-anything': ['CODEC-08/inspect-damaged', 'CODEC-08/inspect-flow', 'CODEC-03/future'],
  'inspect-cannot-be-cancelled': ['CODEC-08/inspect-flow'],
  'no-inspect': ['CODEC-08/pair'],
  'tells-its-key': ['CODEC-08/secrets'],
};

export interface SealingKey {
  /** 8 characters. */
  readonly id: string;
  /** 32 bytes. */
  readonly secret: Buffer;
}

const HEADER = 4 + 1 + 8 + 16 + 32;
const RECORD = 64 * 1024;
const TAG = 16;
const LAST = 0x8000_0000;

export class SealingCodec implements Codec {
  readonly id: string = 'sealing';
  readonly suffix: string = 'seal';
  readonly keyIds: readonly string[];
  readonly inspect?: (source: AsyncIterable<Uint8Array>, context: Pick<CodecContext, 'signal'>) => Promise<KeyUse>;
  readonly #write: SealingKey | undefined;
  readonly #read: readonly SealingKey[];
  readonly #fault: SealingFault | undefined;

  constructor(write: SealingKey | undefined, read: readonly SealingKey[], fault?: SealingFault) {
    this.#write = write ?? (fault === 'plain' ? { id: 'no key  ', secret: Buffer.alloc(32) } : undefined);
    this.#read = read;
    this.#fault = fault;
    this.keyIds = write === undefined ? [] : [write.id];
    if (fault !== 'no-inspect') this.inspect = (source, context) => this.#inspect(source, context);
  }

  async *encode(source: AsyncIterable<Uint8Array>, { signal }: CodecContext): AsyncGenerator<Uint8Array> {
    const key = this.#write;
    const input = abortable(source, signal, 'sealing');
    try {
      if (key === undefined) throw new ArchiveError('CODEC_KEY', 'there is no key to write for');
      const head = Buffer.concat([Buffer.from(`SEAL\u0001${key.id}`), randomBytes(16)]);
      yield Buffer.concat([head, mac(key, head)]);
      let number = 0;
      let rest = Buffer.alloc(0);
      for await (const chunk of input) {
        rest = Buffer.concat([rest, chunk]);
        for (; rest.byteLength > RECORD; rest = rest.subarray(RECORD)) {
          yield this.#seal(key, head, number++, rest, false);
        }
      }
      yield this.#seal(key, head, number, rest, true);
    } finally {
      await input.return?.();
    }
  }

  async *decode(source: AsyncIterable<Uint8Array>, { signal }: CodecContext): AsyncGenerator<Uint8Array> {
    const reader = new Reader(abortable(source, signal, 'unsealing'));
    try {
      const header = await reader.take(HEADER);
      const { key, head } = this.#open(header);
      if (key === undefined) throw new ArchiveError('CODEC_KEY', `there is no key ${header.toString('latin1', 5, 13)}`);
      for (let number = 0, last = false; !last; number++) {
        const length = (await reader.take(4)).readUInt32BE();
        last = length >= LAST;
        const size = length % LAST;
        if (size > RECORD) throw this.#corrupt('a record is too long');
        yield this.#unseal(key, head, number, await reader.take(size + TAG), last);
      }
      if (this.#fault !== 'end' && !(await reader.atEnd())) throw this.#corrupt('something is behind the last record');
    } finally {
      await reader.close();
    }
  }

  async #inspect(source: AsyncIterable<Uint8Array>, { signal }: Pick<CodecContext, 'signal'>): Promise<KeyUse> {
    const reader = new Reader(
      this.#fault === 'inspect-cannot-be-cancelled' ? source : abortable(source, signal, 'looking'),
    );
    try {
      const header = await reader.take(HEADER);
      if (this.#fault === 'inspect-reads-all') while (!(await reader.atEnd())) reader.drop();
      const { key } = this.#open(header);
      const known = this.#fault === 'inspect-knows-no-keys' ? [] : [header.toString('latin1', 5, 13)];
      return { keyIds: known, unknown: 0, readable: key !== undefined };
    } catch (error) {
      if (this.#fault !== 'inspect-takes-anything') throw error;
      return { keyIds: this.keyIds, unknown: 0, readable: true };
    } finally {
      if (this.#fault !== 'inspect-leaves-open') await reader.close();
    }
  }

  #open(header: Buffer): { readonly key: SealingKey | undefined; readonly head: Buffer } {
    const head = header.subarray(0, HEADER - 32);
    if (header.toString('latin1', 0, 4) !== 'SEAL') throw this.#corrupt('not a sealed stream');
    if (this.#fault !== 'version' && header[4] !== 1) throw this.#corrupt(`version ${header[4]} is not known`);
    const id = header.toString('latin1', 5, 13);
    const key = this.#read.find((one) => one.id === id) ?? (this.#fault === 'key-id' ? this.#read[0] : undefined);
    const trusted = this.#fault === 'version' ? Buffer.from(head).fill(1, 4, 5) : head;
    if (key !== undefined && !mac(key, trusted).equals(header.subarray(HEADER - 32)))
      throw this.#corrupt('the header is damaged');
    return { key, head: trusted };
  }

  #recordKey(key: SealingKey, head: Buffer): Buffer {
    const salt = this.#fault === 'stream-key' ? Buffer.alloc(16) : head.subarray(-16);
    return Buffer.from(hkdfSync('sha256', key.secret, salt, 'records', 32));
  }

  #nonce(number: number, last: boolean): Buffer {
    const nonce = Buffer.alloc(12);
    if (this.#fault !== 'order') nonce.writeUInt32BE(number, 4);
    nonce[11] = last ? 1 : 0;
    return nonce;
  }

  #seal(key: SealingKey, head: Buffer, number: number, bytes: Buffer, last: boolean): Buffer {
    const content = bytes.subarray(0, RECORD);
    const cipher = createCipheriv('aes-256-gcm', this.#recordKey(key, head), this.#nonce(number, last));
    const length = Buffer.alloc(4);
    length.writeUInt32BE((last ? LAST : 0) + content.byteLength);
    return Buffer.concat([length, cipher.update(content), cipher.final(), cipher.getAuthTag()]);
  }

  #unseal(key: SealingKey, head: Buffer, number: number, record: Buffer, last: boolean): Buffer {
    const decipher = createDecipheriv('aes-256-gcm', this.#recordKey(key, head), this.#nonce(number, last));
    decipher.setAuthTag(record.subarray(-TAG));
    try {
      return Buffer.concat([decipher.update(record.subarray(0, -TAG)), decipher.final()]);
    } catch (error) {
      throw this.#corrupt(`record ${number} is damaged`, error);
    }
  }

  #corrupt(message: string, cause?: unknown): ArchiveError {
    const details = this.#fault === 'tells-its-key' ? { key: this.#read[0]?.secret } : {};
    return new ArchiveError('CODEC_CORRUPT', message, { cause, details });
  }
}

function mac(key: SealingKey, head: Buffer): Buffer {
  return createHmac('sha256', key.secret).update(head).digest();
}

/** Takes bytes off a stream. */
class Reader {
  readonly #source: AsyncIterator<Uint8Array>;
  #bytes = Buffer.alloc(0);
  #ended = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async take(length: number): Promise<Buffer> {
    while (this.#bytes.byteLength < length) {
      if (await this.#fill()) continue;
      throw new ArchiveError('CODEC_CORRUPT', 'the sealed stream is cut short');
    }
    const taken = this.#bytes.subarray(0, length);
    this.#bytes = this.#bytes.subarray(length);
    return taken;
  }

  async atEnd(): Promise<boolean> {
    while (this.#bytes.byteLength === 0) if (!(await this.#fill())) return true;
    return false;
  }

  drop(): void {
    this.#bytes = Buffer.alloc(0);
  }

  async close(): Promise<void> {
    if (!this.#ended) await this.#source.return?.();
  }

  async #fill(): Promise<boolean> {
    const step = await this.#source.next();
    this.#ended = step.done === true;
    if (step.done !== true) this.#bytes = Buffer.concat([this.#bytes, step.value]);
    return step.done !== true;
  }
}
