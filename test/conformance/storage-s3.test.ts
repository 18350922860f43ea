import { Secret, type Storage } from '@pgark/sdk';
import { describeStorage } from '@pgark/sdk/testing';
import { S3Storage, type S3StorageOptions } from '@pgark/storage-s3';
import { afterAll, beforeAll, describe } from 'vitest';
import { storageStack } from '../../core/src/storage/stack.ts';
import { freePort } from '../support/free-port.ts';
import { startFauxS3, startVersity, versityMissing, type S3Server } from '../support/s3-server.ts';
import { silentLogger } from '../support/silent-logger.ts';

type Overrides = Partial<S3StorageOptions>;

const context = { directory: '/', logger: silentLogger };

function opener(server: () => S3Server, defaults: Overrides = {}): (overrides?: Overrides) => Promise<Storage> {
  return async (overrides = {}) => {
    const { endpoint, accessKeyId, secretAccessKey } = server();
    const options = { bucket: 'archive', endpoint, accessKeyId, secretAccessKey: new Secret(secretAccessKey) };
    return new S3Storage({ ...options, ...defaults, ...overrides }, context);
  };
}

const stacked = async (storage: Promise<Storage>): Promise<Storage> =>
  storageStack(await storage, { logger: silentLogger, prefix: 'prefix', retry: { deadline: 0 } });

/** Nobody listens there. */
const nowhere = async (): Promise<Overrides> => ({ endpoint: `http://127.0.0.1:${await freePort()}` });

const PREFIX_GAP = { id: 'STOR-01/longest', reason: 'the prefix takes its part of the 900 bytes' };

describe('fauxqs', () => {
  let server: S3Server;
  beforeAll(async () => {
    server = await startFauxS3(['archive']);
  });
  afterAll(() => server.stop());
  // It checks no signatures, so nothing is denied, and ignores conditions, which is what "other" takes for granted.
  const open = opener(() => server);
  const broken = {
    missing: () => open({ bucket: 'nothing' }),
    unavailable: async () => open(await nowhere()),
  };
  describeStorage('s3 on fauxqs', { create: () => open(), reopen: () => open(), broken });

  describeStorage('s3 on fauxqs through storageStack', {
    create: () => stacked(open()),
    reopen: () => stacked(open()),
    broken: { missing: () => stacked(broken.missing()), unavailable: () => stacked(broken.unavailable()) },
    knownGaps: [PREFIX_GAP],
    listLength: 100,
  });
});

/** Objects are files in folders there. */
const FOLDER_GAP = {
  id: 'STOR-15/racing',
  reason:
    'versitygw answers 409 ExistingObjectIsDirectory when another request removes the folder that an upload needs',
};

const reason = versityMissing === undefined ? '' : ` (${versityMissing})`;

describe.skipIf(versityMissing !== undefined)(`versitygw${reason}`, () => {
  let server: S3Server;
  beforeAll(async () => {
    server = await startVersity({ buckets: ['archive'], lockedBuckets: ['locked'] });
  });
  afterAll(() => server.stop());

  // As AWS: conditional writes, CRC32 of every request, of every answer, and of the whole of a multipart upload.
  const AWS: Overrides = { provider: 'aws', pathStyle: true, region: 'us-east-1' };
  const open = opener(() => server, AWS);
  const broken = {
    missing: () => open({ bucket: 'nothing' }),
    denied: () => open({ secretAccessKey: new Secret('not the secret') }),
    unavailable: async () => open(await nowhere()),
  };
  describeStorage('s3 on versitygw', {
    create: () => open(),
    reopen: () => open(),
    broken,
    knownGaps: [FOLDER_GAP],
  });

  describeStorage('s3 on versitygw through storageStack', {
    create: () => stacked(open()),
    reopen: () => stacked(open()),
    broken: {
      missing: () => stacked(broken.missing()),
      denied: () => stacked(broken.denied()),
      unavailable: () => stacked(broken.unavailable()),
    },
    knownGaps: [PREFIX_GAP, FOLDER_GAP],
    listLength: 100,
  });

  // Whatever has more than a thousand bytes goes in parts.
  const inParts = opener(() => server, { ...AWS, singlePut: '1000B', partSize: '5MiB', parallelParts: 2 });
  describeStorage('s3 on versitygw in parts', {
    create: () => inParts(),
    reopen: () => inParts(),
    broken: {
      missing: () => inParts({ bucket: 'nothing' }),
      denied: () => inParts({ accessKeyId: 'nobody' }),
      unavailable: async () => inParts(await nowhere()),
    },
    knownGaps: [FOLDER_GAP],
  });
});
