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
};
