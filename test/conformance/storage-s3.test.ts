import { Secret, type Storage } from '@pgark/sdk';
import { describeStorage } from '@pgark/sdk/testing';
import { S3Storage, type S3StorageOptions } from '@pgark/storage-s3';
import { afterAll, beforeAll, describe } from 'vitest';
import { storageStack } from '../../core/src/storage/stack.ts';
import { freePort } from '../support/free-port.ts';
import { gaps, STACK_GAPS } from '../support/known-gaps.ts';
import { startFauxS3, startVersity, versityMissing, type S3Server, type VersityServer } from '../support/s3-server.ts';
import { SCALE } from '../support/scale.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { SILENCE_TIMEOUT, SlowPeers, STALL_TIMEOUT } from '../support/slow-peers.ts';
import { smallDisk } from '../support/small-disk.ts';

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

/** Options of a storage behind a proxy on that port. */
const through = (port: number, timeout: number): Overrides => ({
  endpoint: `http://127.0.0.1:${port}`,
  idleTimeout: `${timeout}ms`,
  connectTimeout: `${timeout}ms`,
});

describe('fauxqs', () => {
  let server: S3Server;
  const peers = new SlowPeers();
  beforeAll(async () => {
    server = await startFauxS3(['archive']);
  });
  afterAll(async () => {
    await peers.close();
    await server.stop();
  });
  // It ignores conditions, which is what "other" takes for granted.
  const open = opener(() => server);
  const broken = {
    missing: () => open({ bucket: 'nothing' }),
    unavailable: async () => open(await nowhere()),
  };
  const knownGaps = [
    ...gaps('fauxqs checks no signatures and denies nothing', 'STOR-06/denied', 'STOR-06/credentials'),
    ...gaps('fauxqs has no disk that could be full', 'STOR-06/full'),
  ];
  describeStorage('s3 on fauxqs', {
    create: () => open(),
    reopen: () => open(),
    broken: {
      ...broken,
      silent: () => peers.silent(server.port, (port) => open(through(port, SILENCE_TIMEOUT))),
      slow: () => peers.slow(server.port, (port) => open(through(port, STALL_TIMEOUT))),
    },
    scale: SCALE,
    knownGaps: [
      ...knownGaps,
      ...(SCALE === 'full' ? gaps('fauxqs holds all objects in the memory of this process', 'STOR-09/large') : []),
    ],
  });

  describeStorage('s3 on fauxqs through storageStack', {
    create: () => stacked(open()),
    reopen: () => stacked(open()),
    broken: { missing: () => stacked(broken.missing()), unavailable: () => stacked(broken.unavailable()) },
    knownGaps: [...knownGaps, ...STACK_GAPS],
    listLength: 100,
  });
});

/** Objects are files in folders there. */
const FOLDER_GAPS = gaps(
  'versitygw answers 409 ExistingObjectIsDirectory when another request removes the folder that an upload needs',
  'STOR-15/racing',
);

const reason = versityMissing === undefined ? '' : ` (${versityMissing})`;

describe.skipIf(versityMissing !== undefined)(`versitygw${reason}`, () => {
  let server: VersityServer;
  const small = smallDisk(8);
  beforeAll(async () => {
    server = await startVersity({
      buckets: ['archive'],
      sidecar: SCALE === 'full',
      ...(typeof small !== 'string' && { linkedBuckets: { small: small.path } }),
    });
    server.addUser('nobody', 'secret of nobody');
  });
  afterAll(async () => {
    await server.stop();
    if (typeof small !== 'string') small.unmount();
  });

  // As AWS: conditional writes, CRC32 of every request, of every answer, and of the whole of a multipart upload.
  const AWS: Overrides = { provider: 'aws', pathStyle: true, region: 'us-east-1' };
  const open = opener(() => server, AWS);
  const broken = {
    missing: () => open({ bucket: 'nothing' }),
    // A user of whom no policy speaks.
    denied: () => open({ accessKeyId: 'nobody', secretAccessKey: new Secret('secret of nobody') }),
    credentials: () => open({ secretAccessKey: new Secret('not the secret') }),
    unavailable: async () => open(await nowhere()),
  };
  describeStorage('s3 on versitygw', {
    create: () => open(),
    reopen: () => open(),
    broken: {
      ...broken,
      ...(typeof small !== 'string' && { full: () => open({ bucket: 'small' }) }),
    },
    scale: SCALE,
    knownGaps: [
      ...FOLDER_GAPS,
      ...gaps('the suite on fauxqs has it', 'STOR-06/silent', 'STOR-06/slow'),
      ...(typeof small === 'string' ? gaps(small, 'STOR-06/full') : []),
    ],
  });

  describeStorage('s3 on versitygw through storageStack', {
    create: () => stacked(open()),
    reopen: () => stacked(open()),
    broken: {
      missing: () => stacked(broken.missing()),
      denied: () => stacked(broken.denied()),
      credentials: () => stacked(broken.credentials()),
      unavailable: () => stacked(broken.unavailable()),
    },
    knownGaps: [...FOLDER_GAPS, ...STACK_GAPS],
    listLength: 100,
  });

  // Whatever has more than a thousand bytes goes in parts.
  const inParts = opener(() => server, { ...AWS, singlePut: '1000B', partSize: '5MiB', parallelParts: 2 });
  describeStorage('s3 on versitygw in parts', {
    create: () => inParts(),
    reopen: () => inParts(),
    partsLength: 12_000_000,
    broken: {
      missing: () => inParts({ bucket: 'nothing' }),
      credentials: () => inParts({ accessKeyId: 'stranger' }),
      unavailable: async () => inParts(await nowhere()),
    },
    knownGaps: [
      ...FOLDER_GAPS,
      ...gaps(
        'the suite with the usual sizes has it',
        'STOR-06/denied',
        'STOR-06/silent',
        'STOR-06/slow',
        'STOR-06/full',
      ),
    ],
  });
});
