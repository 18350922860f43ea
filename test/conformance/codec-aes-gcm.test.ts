import { AesGcmCodec } from '@pgark/codec-aes-gcm';
import { Secret } from '@pgark/sdk';
import { describeCodec } from '@pgark/sdk/testing';
import { randomBytes } from 'node:crypto';

const here = randomBytes(32);
const elsewhere = randomBytes(32);
const key = (id: string, bytes: Uint8Array) => ({ id, key: new Secret(Buffer.from(bytes).toString('base64')) });

describeCodec('aes-gcm', {
  create: () => new AesGcmCodec({ keys: [key('here', here)] }),
  blockSize: 1024 * 1024,
  future: (encoded) => {
    encoded[8] = 2;
    return encoded;
  },
  keys: {
    other: () => new AesGcmCodec({ keys: [key('elsewhere', elsewhere)] }),
    readOnly: () =>
      new AesGcmCodec({ keys: [] }, { identities: async () => [new Secret(`aes-gcm:here:${here.toString('hex')}`)] }),
    secrets: [here, elsewhere],
  },
});
