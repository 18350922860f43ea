/** Codecs in a row, as configs have them: a chain keeps the contract of a codec. gzip alone is in codec-gzip.test.ts. */
import { AesGcmCodec } from '@pgark/codec-aes-gcm';
import { AgeCodec } from '@pgark/codec-age';
import { GzipCodec } from '@pgark/codec-gzip';
import { Lz4Codec } from '@pgark/codec-lz4';
import { ZstdCodec } from '@pgark/codec-zstd';
import { Secret, type Codec } from '@pgark/sdk';
import { chainCodecs, describeCodec } from '@pgark/sdk/testing';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';

const MIB = 1024 * 1024;

/** What two codecs in a row work on: each holds as much as one alone. */
const BOTH = 2 * MIB;

/** Keys that "age-keygen" made for these tests and for nothing else. */
const KEY = {
  secret: 'AGE-SECRET-KEY-13V8MWNR2J483AA9SSU5TH2PE9KY0S438T27U0XEVV7GRQC0PQWTQJR3JVR',
  recipient: 'age1rt80jg6fgkjwqe8aekvj97dt27076mza0kydnm7gu48xa6gafefq6k88le',
};
const OTHER = {
  secret: 'AGE-SECRET-KEY-12NKDYTVQDV8UE77L2060D45YRNGQXSHGSKJPDL7ECTYZPQH398QQHHV3FW',
  recipient: 'age1s8zcsrgl56dy9ww4x5c3nhvgsaayz2qxetm8dengjjyrjwdw246s0vjkcv',
};
const HERE = randomBytes(32);
const ELSEWHERE = randomBytes(32);
const AES_IDENTITY = new Secret(`aes-gcm:here:${HERE.toString('hex')}`);

const folder = mkdtempSync(join(tmpdir(), 'pgark-chains-'));
afterAll(() => rmSync(folder, { recursive: true }));
const keyFile = join(folder, 'key.txt');
writeFileSync(keyFile, `${KEY.secret}\n`, { mode: 0o600 });

/** Commands in a row, if all of them are installed. */
const pipe = (...commands: readonly string[]): readonly [string, ...string[]] => [
  'bash',
  '-o',
  'pipefail',
  '-c',
  commands.join(' | '),
];
const installed = (...tools: readonly string[]): boolean =>
  tools.every((tool) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error === undefined);

const zstdAge = (recipients: readonly string[], secret?: string): Codec =>
  chainCodecs(
    new ZstdCodec({ level: 1 }),
    new AgeCodec({ recipients }, { identities: async () => (secret === undefined ? [] : [new Secret(secret)]) }),
  );
const lz4AesGcm = (...keys: readonly (readonly [id: string, bytes: Buffer])[]): Codec =>
  chainCodecs(
    new Lz4Codec(),
    new AesGcmCodec({ keys: keys.map(([id, bytes]) => ({ id, key: new Secret(bytes.toString('base64')) })) }),
  );

describeCodec('zstd+age', {
  create: () => zstdAge([KEY.recipient], KEY.secret),
  ...(installed('bash', 'zstd', 'age')
    ? {
        tool: {
          decode: pipe(`age --decrypt --identity ${keyFile}`, 'zstd -dcq'),
          encode: [pipe('zstd -c', `age --recipient ${KEY.recipient}`)],
        },
      }
    : {}),
  blockSize: BOTH,
  future: (encoded) => Buffer.from(Buffer.from(encoded).toString('latin1').replace('.org/v1', '.org/v2'), 'latin1'),
  keys: {
    other: () => zstdAge([OTHER.recipient], OTHER.secret),
    readOnly: () => zstdAge([], KEY.secret),
    writeOnly: () => zstdAge([KEY.recipient]),
    secrets: [KEY.secret, OTHER.secret],
  },
});

describeCodec('lz4+aes-gcm', {
  create: () => lz4AesGcm(['here', HERE]),
  blockSize: BOTH,
  future(encoded) {
    const later = Buffer.from(encoded);
    later[8] = 2; // behind the magic number of 8 bytes
    return later;
  },
  keys: {
    other: () => lz4AesGcm(['elsewhere', ELSEWHERE]),
    readOnly: () =>
      chainCodecs(new Lz4Codec(), new AesGcmCodec({ keys: [] }, { identities: async () => [AES_IDENTITY] })),
    secrets: [HERE, ELSEWHERE],
  },
});

describe('a chain', () => {
  test('has the suffixes in order of application, and the keys of its last codec', () => {
    const chain = zstdAge([KEY.recipient], KEY.secret);
    expect(chain).toMatchObject({ id: 'zstd+age', suffix: 'zst.age', keyIds: [KEY.recipient] });
    const keyless = chainCodecs(new GzipCodec({ level: 1 }), new ZstdCodec({ level: 1 }));
    expect('inspect' in keyless || 'keyIds' in keyless).toBe(false);
  });
});
