/** Which codecs are measured beside which commands, and what must be shown of each. */
import type { Command, Figure } from './measure.ts';

export interface Keys {
  /** Of age. */
  readonly recipient: string;
  readonly identityFile: string;
  /** 32 bytes in hex, for AES. */
  readonly keyFile: string;
}

interface Peer {
  readonly encode: Command;
  readonly decode: Command;
  readonly names: Readonly<Record<'encode' | 'decode' | 'both', string>>;
}

export interface CodecSpec {
  readonly name: string;
  /** As in the config. */
  readonly chain: (keys: Keys) => readonly ({ readonly use: string } & Readonly<Record<string, unknown>>)[];
  /** Commands without which it cannot be measured. */
  readonly tools: readonly string[];
  readonly peer?: (keys: Keys) => Peer;
  readonly targets: Readonly<Partial<Record<'encode' | 'decode' | 'both', NonNullable<Figure['target']>>>>;
}

function peer(program: string, encode: readonly string[], decode: readonly string[]): Peer {
  const name = (args: readonly string[]): string => [program, ...args].join(' ');
  return {
    encode: { program, args: [...encode, '-c'] },
    decode: { program, args: [...decode, '-c'] },
    names: { encode: name(encode), decode: name(decode), both: `${name(encode)}, ${name(decode)}` },
  };
}

function agePeer({ recipient, identityFile }: Keys): Peer {
  return {
    encode: { program: 'age', args: ['-r', recipient] },
    decode: { program: 'age', args: ['-d', '-i', identityFile] },
    names: { encode: 'age -r', decode: 'age -d', both: 'age -r, age -d' },
  };
}

/** Megabytes per second. */
const AGE_ALONE = 600;

export const CODEC_SPECS: readonly CodecSpec[] = [
  {
    name: 'zstd 1',
    chain: () => [{ use: 'zstd', level: 1 }],
    tools: ['zstd'],
    peer: () => peer('zstd', ['-1', '-T2'], ['-d']),
    targets: { both: { ratio: 1 } },
  },
  {
    name: 'gzip 6',
    chain: () => [{ use: 'gzip', level: 6 }],
    tools: ['gzip'],
    peer: () => peer('gzip', ['-6'], ['-d']),
    targets: { encode: { ratio: 1.8 } },
  },
  {
    name: 'lz4',
    chain: () => [{ use: 'lz4' }],
    tools: ['lz4'],
    peer: () => peer('lz4', ['-1'], ['-d']),
    targets: {},
  },
  {
    name: 'age',
    chain: ({ recipient }) => [{ use: 'age', recipients: [recipient] }],
    tools: ['age', 'age-keygen'],
    peer: agePeer,
    targets: { encode: { value: AGE_ALONE, ratio: 1 }, decode: { value: AGE_ALONE, ratio: 1 } },
  },
  // Debian has no command that writes AES-GCM: openssl enc refuses it.
  {
    name: 'aes-gcm',
    chain: ({ keyFile }) => [{ use: 'aes-gcm', keys: [{ id: 'bench', key: { file: keyFile } }] }],
    tools: [],
    targets: {},
  },
  {
    name: 'zstd 1 + age',
    chain: ({ recipient }) => [
      { use: 'zstd', level: 1 },
      { use: 'age', recipients: [recipient] },
    ],
    tools: ['zstd', 'age', 'age-keygen'],
    peer: ({ recipient, identityFile }) => ({
      encode: shell('zstd -1 -T2 -c | age -r "$1"', recipient),
      decode: shell('age -d -i "$1" | zstd -d -c', identityFile),
      names: {
        encode: 'zstd -1 -T2 | age -r',
        decode: 'age -d | zstd -d',
        both: 'zstd -1 -T2 | age -r, age -d | zstd -d',
      },
    }),
    targets: {},
  },
];

/** Two programs joined by a pipe; their costs are those of both. */
function shell(script: string, argument: string): Command {
  return { program: 'bash', args: ['-o', 'pipefail', '-c', script, 'bash', argument], family: true };
}
