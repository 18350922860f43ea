/** The codec chains of which there is a golden archive. */

/** How one is written, and what a config needs to read it. */
export interface GoldenChain {
  /** In the config that writes; paths are relative to `test/golden/<name>`. */
  readonly codecs: readonly Readonly<Record<string, unknown>>[];
  /** Whether the config that reads names the codecs too: those that have their keys there. Default false: suffixes are enough. */
  readonly readWithCodecs?: boolean;
  /** `restore.identities` of the config that reads. */
  readonly identities?: readonly { readonly file: string }[];
  /** What is kept of it, so that all are small together; default everything. */
  readonly keeps?: 'WAL' | 'history and slices';
}

export const GOLDEN_CHAINS: Readonly<Record<string, GoldenChain>> = {
  plain: { codecs: [], keeps: 'history and slices' },
  gzip: { codecs: [{ use: 'gzip', level: 9 }] },
  zstd: { codecs: [{ use: 'zstd', level: 19 }] },
  // Written for two, read with the key of the second.
  'zstd-age': {
    codecs: [
      { use: 'zstd', level: 19 },
      {
        use: 'age',
        recipients: [
          'age1a0wgmuj4434j3lpq7tfkudm056uz4tvzmqgtajw2e7f3k0su3axsdwu8s6',
          'age18uxw9v9ycvszw7apdgcsctls06y65p99ct2kjuvuzprzfe3r5u5qkd88al',
        ],
      },
    ],
    identities: [{ file: '../keys/age-escrow.txt' }],
  },
  lz4: { codecs: [{ use: 'lz4' }], keeps: 'WAL' },
  'lz4-aes-gcm': {
    codecs: [{ use: 'lz4' }, { use: 'aes-gcm', keys: [{ id: 'golden', key: { file: '../keys/aes-gcm.txt' } }] }],
    readWithCodecs: true,
  },
};
