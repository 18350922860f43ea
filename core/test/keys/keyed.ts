/** A small codec with keys, and repositories in memory that use it. It hides nothing: what matters here is who can open what. */
import zstd from '@pgark/codec-zstd';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Codec, KeyUse } from '../../src/contracts/codec.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { collect } from '../../src/repository/objects.ts';
import { Repository } from '../../src/repository/repository.ts';
import { memoryStorage, pluginContext } from '../repository/repository.ts';

export interface KeyedOptions {
  readonly suffix?: string;
  /** Keys that it writes for. */
  readonly for?: readonly string[];
  /** Keys that it opens. */
  readonly held?: readonly string[];
  /** Whether the header names only those of its keys that are held, as that of age does. */
  readonly hidden?: boolean;
}

/** Writes `KEYS k1 k2` and the bytes. */
export function keyed(options: KeyedOptions = {}): Codec {
  const { suffix = 'key', for: keyIds = [], held = [], hidden = false } = options;
  const use = (bytes: Uint8Array): { readonly use: KeyUse; readonly end: number } => {
    const end = bytes.indexOf(10);
    const line = Buffer.from(bytes.subarray(0, Math.max(end, 0))).toString();
    if (!line.startsWith('KEYS ')) throw new ArchiveError('CODEC_CORRUPT', `no header of codec ${suffix}`);
    const ids = line.slice(5).split(' ');
    const named = hidden ? ids.filter((id) => held.includes(id)) : ids;
    const readable = ids.some((id) => held.includes(id));
    return { use: { keyIds: named, unknown: ids.length - named.length, readable }, end };
  };
  return {
    id: `codec-${suffix}`,
    suffix,
    keyIds,
    async *encode(source) {
      if (keyIds.length === 0) throw new ArchiveError('CODEC_KEY', `codec ${suffix} has nobody to write for`);
      yield Buffer.from(`KEYS ${keyIds.join(' ')}\n`);
      yield* source;
    },
    async *decode(source) {
      const bytes = await collect(source, suffix);
      const header = use(bytes);
      if (!header.use.readable) {
        const atHand = `at hand: ${held.length === 0 ? 'no key' : held.join(', ')}`;
        throw new ArchiveError('CODEC_KEY', `none of its keys is at hand; ${atHand}`, { hint: 'Find it.' });
      }
      yield bytes.subarray(header.end + 1);
    },
    async inspect(source) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of source) {
        chunks.push(chunk);
        if (chunk.includes(10)) break;
      }
      return use(Buffer.concat(chunks)).use;
    },
  };
}

const zst: Codec = await zstd.create({ level: 1 }, pluginContext);

export interface KeyedRepositoryOptions {
  readonly storage?: Storage;
  readonly name?: string;
  /** What is written, in order; `zst` is a codec without keys. */
  readonly writes: readonly (Codec | 'zst')[];
  /** Further codecs that read. */
  readonly reads?: readonly Codec[];
}

export async function keyedRepository(options: KeyedRepositoryOptions): Promise<Repository> {
  const codecs = options.writes.map((codec) => (codec === 'zst' ? zst : codec));
  const known = [...codecs, ...(options.reads ?? []), zst];
  const repository = new Repository({
    cluster: 'main',
    name: options.name ?? 'primary',
    storage: options.storage ?? (await memoryStorage()),
    codecs,
    codecFor: async (suffix) => {
      const codec = known.find((one) => one.suffix === suffix);
      if (codec === undefined) throw new ArchiveError('CODEC_UNKNOWN', `no installed codec reads ".${suffix}"`);
      return codec;
    },
  });
  await repository.open({ create: true });
  return repository;
}
