import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AgeCodec } from '@pgark/codec-age';
import { Secret } from '@pgark/sdk';
import { CODEC_CLAUSES, describeCodec, runCodecClause } from '@pgark/sdk/testing';
import { afterAll, describe, test } from 'vitest';

/** Keys that "age-keygen" made for these tests and for nothing else. */
const KEY = {
  secret: 'AGE-SECRET-KEY-13V8MWNR2J483AA9SSU5TH2PE9KY0S438T27U0XEVV7GRQC0PQWTQJR3JVR',
  recipient: 'age1rt80jg6fgkjwqe8aekvj97dt27076mza0kydnm7gu48xa6gafefq6k88le',
};

const OTHER = {
  secret: 'AGE-SECRET-KEY-12NKDYTVQDV8UE77L2060D45YRNGQXSHGSKJPDL7ECTYZPQH398QQHHV3FW',
  recipient: 'age1s8zcsrgl56dy9ww4x5c3nhvgsaayz2qxetm8dengjjyrjwdw246s0vjkcv',
};

const folder = mkdtempSync(join(tmpdir(), 'pgark-age-'));
afterAll(() => rmSync(folder, { recursive: true }));
const keyFile = join(folder, 'key.txt');
writeFileSync(keyFile, `# a comment\n${KEY.secret}\n`, { mode: 0o600 });

const identities = async (): Promise<Secret[]> => [new Secret(`# a comment\n${KEY.secret}\n`)];

describeCodec('age', {
  create: () => new AgeCodec({ recipients: [KEY.recipient] }, { identities }),
  tool: {
    decode: ['age', '--decrypt', '--identity', keyFile],
    // Alone, the last recipient of several, and the first.
    encode: [
      ['age', '--recipient', KEY.recipient],
      ['age', '--recipient', OTHER.recipient, '--recipient', KEY.recipient],
      ['age', '--recipient', KEY.recipient, '--recipient', OTHER.recipient],
    ],
  },
  blockSize: 1024 * 1024,
  future: (encoded: Uint8Array) =>
    Buffer.from(
      Buffer.from(encoded).toString('latin1').replace('age-encryption.org/v1', 'age-encryption.org/v2'),
      'latin1',
    ),
  keys: {
    other: () =>
      new AgeCodec({ recipients: [OTHER.recipient] }, { identities: async () => [new Secret(OTHER.secret)] }),
    readOnly: () => new AgeCodec({}, { identities }),
    writeOnly: () => new AgeCodec({ recipients: [KEY.recipient] }),
    secrets: [KEY.secret, OTHER.secret],
  },
});

/** As cheap as scrypt can be: what it costs is no part of the contract. */
const workFactor = 1;

// The payload is the same, and the header of the same form: what differs is who can open it.
describe('codec age with a passphrase', () => {
  for (const clause of CODEC_CLAUSES.filter(({ id }) => id.startsWith('CODEC-08/') && id !== 'CODEC-08/write-only')) {
    test(`${clause.title} [${clause.id}]`, { timeout: 60_000 }, () =>
      runCodecClause(clause, {
        create: () => new AgeCodec({ passphrase: new Secret('correct horse'), workFactor }),
        blockSize: 1024 * 1024,
        keys: {
          other: () => new AgeCodec({ passphrase: new Secret('battery staple'), workFactor }),
          readOnly: () =>
            new AgeCodec(
              {},
              { identities: async () => [new Secret('age-passphrase:battery staple\nage-passphrase:correct horse')] },
            ),
          secrets: ['correct horse', 'battery staple'],
        },
      }),
    );
  }
});
