/** A writer of the format that shares no code with the codec, to make what the codec would never write. */
import { AesGcmCodec, type AesGcmKey } from '@pgark/codec-aes-gcm';
import { Secret, type PluginContext } from '@pgark/sdk';
import { createCipheriv, createHash, hkdfSync } from 'node:crypto';

export const CHUNK = 262_144;
export const SEALED = CHUNK + 16;

/** Fixed for ever: the golden objects were written with it. */
export const KEY: Buffer = Buffer.from(Array.from({ length: 32 }, (_, index) => index));
export const OTHER_KEY: Buffer = Buffer.from(Array.from({ length: 32 }, (_, index) => 255 - index));

export function entry(id: string, bytes: Buffer): AesGcmKey {
  return { id, key: new Secret(bytes.toString('base64')) };
}

export interface ChunkToWrite {
  readonly content: Uint8Array;
  readonly last: boolean;
  /** Default: its place. */
  readonly counter?: number;
}

export interface ObjectToWrite {
  readonly chunks: readonly ChunkToWrite[];
  /** Default `k`. */
  readonly id?: string;
  /** Default {@link KEY}. */
  readonly key?: Buffer;
  readonly objectKey?: Buffer;
  /** Default 1. */
  readonly version?: number;
}

/** An object, part by part: the header, then each chunk. */
export function writeObject(object: ObjectToWrite): Buffer[] {
  const { id = 'k', key = KEY, objectKey = Buffer.alloc(32, 'object key'), version = 1 } = object;
  const wrap = createCipheriv('id-aes256-wrap', key, Buffer.alloc(8, 0xa6));
  const wrapped = Buffer.concat([wrap.update(objectKey), wrap.final()]);
  const header = withCheck(
    Buffer.concat([Buffer.from('pgarkgcm'), Buffer.of(version, id.length), Buffer.from(id, 'latin1'), wrapped]),
  );
  const payloadKey = Buffer.from(hkdfSync('sha256', objectKey, '', header, 32));
  const chunks = object.chunks.map(({ content, last, counter }, place) => {
    const nonce = Buffer.alloc(12);
    nonce.writeUInt32BE(counter ?? place, 7);
    nonce[11] = last ? 1 : 0;
    const cipher = createCipheriv('aes-256-gcm', payloadKey, nonce);
    return Buffer.concat([cipher.update(content), cipher.final(), cipher.getAuthTag()]);
  });
  return [header, ...chunks];
}

/** A header with the check that belongs to it. */
export function withCheck(before: Uint8Array): Buffer {
  return Buffer.concat([before, createHash('sha256').update(before).digest().subarray(0, 8)]);
}

/** A codec whose only key is {@link KEY} as `k`, unless others are given. */
export function codecOf(
  keys: readonly AesGcmKey[] = [entry('k', KEY)],
  context: Pick<PluginContext, 'identities'> = {},
): AesGcmCodec {
  return new AesGcmCodec({ keys }, context);
}

export async function encode(codec: AesGcmCodec, content: Uint8Array): Promise<Buffer> {
  return joined(codec.encode(source(content), { concurrency: 2 }));
}

export async function decode(codec: AesGcmCodec, ...parts: readonly Uint8Array[]): Promise<Buffer> {
  return joined(codec.decode(source(...parts), { concurrency: 2 }));
}

export async function* source(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function joined(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}
