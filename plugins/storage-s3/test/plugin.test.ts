import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { API_VERSION, isLeased, leaseChunk, Secret } from '@pgark/sdk';
import plugin, { S3Storage } from '@pgark/storage-s3';
import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { BlockReader } from '../src/block-reader.ts';
import { decodeMetadata, encodeMetadata } from '../src/metadata.ts';
import { settingsOf } from '../src/options.ts';
import { partSizes } from '../src/part-sizes.ts';
import { PROVIDERS } from '../src/providers.ts';

const MIB = 1024 * 1024;

test('the manifest says what package.json says', () => {
  const { pgark } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { pgark: unknown };
  expect(pgark).toEqual({ kind: plugin.kind, name: plugin.name, apiVersion: API_VERSION });
});

test('PLUGIN-01 PLUGIN-02 neither the import nor creating a storage loads the SDK; the first call does', () => {
  const script = `
    import { createRequire } from 'node:module';
    const { S3Storage } = await import('@pgark/storage-s3');
    const loaded = () => Object.keys(createRequire(import.meta.url).cache).some((path) => path.includes('@aws-sdk'));
    const logger = { debug() {}, info() {}, warn() {}, error() {} };
    const storage = new S3Storage({ bucket: 'b', endpoint: 'http://127.0.0.1:1', profile: 'x' }, { directory: '/', logger });
    const before = loaded();
    await storage.stat('key').catch(() => undefined);
    console.log(JSON.stringify([before, loaded()]));`;
  const output = execFileSync(
    process.execPath,
    ['--conditions=@pgark/source', '--input-type=module', '--eval', script],
    { cwd: new URL('.', import.meta.url).pathname, encoding: 'utf8' },
  );
  expect(JSON.parse(output)).toEqual([false, true]);
});

describe('options', () => {
  const issues = async (options: object): Promise<unknown> =>
    (await plugin.options['~standard'].validate({ bucket: 'archive', ...options })).issues?.map(({ path }) =>
      path?.map(String).join('.'),
    );
  const keys = { accessKeyId: 'id', secretAccessKey: new Secret('secret') };

  test.each<[object, string[] | undefined]>([
    [{}, undefined],
    [{ ...keys, region: 'eu-central-1', partSize: '64MiB', idleTimeout: '2m', parallelParts: 8 }, undefined],
    [{ provider: 'ceph', endpoint: 'https://ceph.example', conditionalPut: true, checksums: 'crc32' }, undefined],
    [{ encryption: 'aws:kms', kmsKeyId: 'alias/x', objectLock: 'compliance', storageClass: 'STANDARD_IA' }, undefined],
    [{ bucket: '' }, ['bucket']],
    [{ bucket: 'directory--euc1-az1--x-s3' }, ['bucket']],
    [{ endpoint: 'minio:9000' }, ['endpoint']],
    [{ provider: 'r2' }, ['endpoint']],
    [{ accessKeyId: 'id' }, ['secretAccessKey']],
    [{ secretAccessKey: new Secret('secret') }, ['accessKeyId']],
    [{ accessKeyId: 'id', secretAccessKey: 'not wrapped' }, ['secretAccessKey']],
    [{ ...keys, profile: 'x' }, ['profile']],
    [{ kmsKeyId: 'x', encryption: 'AES256' }, ['kmsKeyId']],
    [{ partSize: '4MiB' }, ['partSize']],
    [{ partSize: 8 }, ['partSize']],
    [{ idleTimeout: '10' }, ['idleTimeout']],
    [{ objectLock: 'GOVERNANCE' }, ['objectLock']],
    [{ signPayload: false }, undefined],
    [{ signPayload: false, endpoint: 'http://minio:9000', checksums: 'crc32' }, undefined],
    [{ signPayload: false, endpoint: 'https://s3.example' }, ['signPayload']],
    [{ signPayload: false, checksums: 'md5' }, ['signPayload']],
    [{ buckte: 'x' }, ['']],
  ])('%j', async (options, expected) => {
    expect(await issues(options)).toEqual(expected);
  });

  test('the bytes of uploads are signed, but where TLS and a checksum protect them', () => {
    const signed = (options: object): boolean => settingsOf({ bucket: 'archive', ...options }).signPayload;
    expect(signed({})).toBe(false);
    expect(signed({ signPayload: true })).toBe(true);
    expect(signed({ checksums: 'md5' })).toBe(true);
    expect(signed({ endpoint: 'https://s3.example' })).toBe(true);
    expect(signed({ endpoint: 'https://s3.example', checksums: 'crc32' })).toBe(false);
    expect(signed({ endpoint: 'http://minio:9000', checksums: 'crc32' })).toBe(true);
  });

  test('H-51 the capabilities are those of the provider, or as configured', () => {
    const capabilities = (options: object): unknown =>
      new S3Storage({ bucket: 'archive', ...options }, { directory: '/', logger: silentLogger }).capabilities;
    const of = (conditionalPut: boolean, retention = false): unknown => ({ conditionalPut, retention, metadata: true });
    const endpoint = 'https://s3.example';
    expect(capabilities({})).toEqual(of(true));
    expect(capabilities({ endpoint })).toEqual(of(false));
    expect(capabilities({ endpoint, provider: 'minio' })).toEqual(of(true));
    expect(capabilities({ endpoint, provider: 'ceph' })).toEqual(of(false));
    expect(capabilities({ endpoint, provider: 'ceph', conditionalPut: true })).toEqual(of(true));
    expect(capabilities({ conditionalPut: false, objectLock: 'governance' })).toEqual(of(false, true));
    for (const [name, { checksums }] of Object.entries(PROVIDERS)) expect(checksums === 'crc32').toBe(name === 'aws');
  });
});

describe('part sizes', () => {
  const total = (sizeOf: (number: number) => number): number => {
    let sum = 0;
    for (let number = 1; number <= 10_000; number++) sum += sizeOf(number);
    return sum;
  };
  const TIB = 1024 * 1024 * MIB;
  const settings = { partSize: 8 * MIB, equalParts: false };

  test('10,000 parts suffice for 5 TiB, whether the size is known or not', () => {
    const unknown = partSizes(settings, 'key', undefined);
    expect([unknown(1), unknown(1000), unknown(1001)]).toEqual([8 * MIB, 8 * MIB, 16 * MIB]);
    expect(total(unknown)).toBeGreaterThanOrEqual(5 * TIB);
    for (const size of [1, 100 * MIB, 5 * TIB])
      expect(total(partSizes(settings, 'key', size))).toBeGreaterThanOrEqual(size);
    expect(partSizes(settings, 'key', 100 * MIB)(9999)).toBe(8 * MIB);
    expect(partSizes({ ...settings, equalParts: true }, 'key', undefined)(10_000)).toBe(8 * MIB);
  });

  test('one more is refused, for good', () => {
    expect(() => partSizes(settings, 'key', undefined)(10_001)).toThrow(
      expect.objectContaining({ code: 'STORAGE_FULL', retriable: false }),
    );
  });
});

describe('block reader', () => {
  const content = Buffer.from(Array.from({ length: 200_000 }, (_, at) => at % 251));

  test.each([1000, 64 * 1024, 200_000, 300_000])(
    'STOR-17 leased chunks of %i bytes are copied and released',
    async (length) => {
      const released: number[] = [];
      async function* body(): AsyncGenerator<Uint8Array, void, undefined> {
        for (let start = 0; start < content.byteLength; start += length) {
          const chunk = Buffer.from(content.subarray(start, start + length));
          yield leaseChunk(chunk, () => {
            released.push(start);
            chunk.fill(0);
          });
          expect(isLeased(chunk)).toBe(false);
          yield new Uint8Array(0);
        }
      }
      const reader = new BlockReader(body());
      const first = await reader.gather(150_000);
      expect(Buffer.compare(first, content.subarray(0, 150_000))).toBe(0);
      reader.putBack(first);
      const blocks: Buffer[] = [];
      while (!(await reader.isAtEnd())) {
        const memory = Buffer.alloc(70_000);
        blocks.push(memory.subarray(0, await reader.fill(memory)));
      }
      expect(blocks.map((block) => block.byteLength)).toEqual([70_000, 70_000, 60_000]);
      expect(Buffer.concat(blocks).equals(content)).toBe(true);
      expect(released).toHaveLength(Math.ceil(content.byteLength / length));
    },
  );

  test('what fits is gathered whole, with memory of its size where that is known', async () => {
    async function* body(): AsyncGenerator<Uint8Array, void, undefined> {
      yield content;
    }
    for (const expected of [undefined, content.byteLength]) {
      const reader = new BlockReader(body());
      const bytes = await reader.gather(1_000_000, expected);
      expect(Buffer.compare(bytes, content)).toBe(0);
      expect(await reader.isAtEnd()).toBe(true);
      expect(bytes.buffer.byteLength).toBeLessThanOrEqual(expected ?? 4 * 64 * 1024);
    }
  });
});

test('metadata of any letters goes through headers and comes back', () => {
  const metadata = { plain: 'a value, as it is', spaces: ' at both ends ', other: 'é 🐘 100% %41\n' };
  const encoded = encodeMetadata(metadata);
  expect(encoded['plain']).toBe(metadata.plain);
  for (const value of Object.values(encoded)) expect(value).toMatch(/^[!-~]([ -~]*[!-~])?$/);
  expect(decodeMetadata(encoded)).toEqual(metadata);
  expect(decodeMetadata({ foreign: '100%' })).toEqual({ foreign: '100%' });
});
