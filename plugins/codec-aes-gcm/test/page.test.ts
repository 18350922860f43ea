/** The two readers on the page of the format read what the codec writes, as they are printed there. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { readPage } from '../../../test/docs/pages.ts';
import { CHUNK, codecOf, encode, entry, KEY, OTHER_KEY, SEALED, writeObject } from './objects.ts';

const MARK = 'run by plugins/codec-aes-gcm/test/page.test.ts';
const openssl = spawnSync('openssl', ['version'], { encoding: 'utf8' }).stdout ?? '';

function readers(): { readonly folder: string; readonly node: string; readonly shell: string } {
  const { blocks } = readPage('docs/reference/aes-gcm-format.md');
  const folder = mkdtempSync(join(tmpdir(), 'pgark-aes-gcm-page-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const place = (language: string, name: string): string => {
    const marked = blocks.filter((block) => block.mark === MARK && block.language === language);
    expect(marked, `blocks of ${language}`).toHaveLength(1);
    writeFileSync(join(folder, name), marked[0]?.text ?? '');
    return join(folder, name);
  };
  return { folder, node: place('js', 'read.mjs'), shell: place('sh', 'read.sh') };
}

/** Content whose objects have none, one and several chunks, and end at a border. */
const SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 77];

test('with Node alone, what the codec wrote is read', async () => {
  const { folder, node } = readers();
  for (const [at, size] of SIZES.entries()) {
    const content = randomBytes(size);
    const object = join(folder, `${at}.aesgcm`);
    writeFileSync(object, await encode(codecOf([entry('of-the-page', KEY)]), content));
    // Both ways of writing a key.
    const env = { ...process.env, KEY: KEY.toString(at % 2 === 0 ? 'hex' : 'base64') };
    const { status, stderr } = spawnSync(process.execPath, [node, object, `${object}.plain`], {
      env,
      encoding: 'utf8',
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: 'key id: of-the-page\n' });
    expect(readFileSync(`${object}.plain`).equals(content), `${size} bytes`).toBe(true);
  }
});

test('H-60 the reader for Node refuses what the codec refuses', async () => {
  const { folder, node } = readers();
  const object = await encode(codecOf(), randomBytes(2 * CHUNK + 5));
  const flipped = Buffer.from(object);
  flipped.writeUInt8(flipped.readUInt8(object.byteLength - 30) ^ 1, object.byteLength - 30);
  const later = Buffer.from(object);
  later[8] = 2;
  const header = Buffer.from(object);
  header.writeUInt8(header.readUInt8(12) ^ 1, 12);
  const empty = { content: Buffer.alloc(0), last: true };
  const full = { content: Buffer.alloc(CHUNK), last: false };
  const damaged: readonly (readonly [string, Uint8Array, Buffer])[] = [
    ['cut at a border', object.subarray(0, 59 + SEALED), KEY],
    ['cut behind the header', object.subarray(0, 59), KEY],
    ['continued', Buffer.concat([object, Buffer.alloc(1)]), KEY],
    ['flipped', flipped, KEY],
    ['a later version', later, KEY],
    ['a changed header', header, KEY],
    ['another key', object, OTHER_KEY],
    ['an id that is none', Buffer.concat(writeObject({ id: 'a b', chunks: [empty] })), KEY],
    ['an empty chunk at the end', Buffer.concat(writeObject({ chunks: [full, empty] })), KEY],
  ];
  for (const [what, bytes, key] of damaged) {
    const path = join(folder, what);
    writeFileSync(path, bytes);
    const env = { ...process.env, KEY: key.toString('hex') };
    const { status } = spawnSync(process.execPath, [node, path, `${path}.plain`], { env });
    expect(status, what).toBe(1);
  }
});

test.skipIf(!/^OpenSSL [3-9]/.test(openssl) || !existsSync('/bin/sh'))(
  'with openssl and a shell alone, what the codec wrote is read (needs OpenSSL 3)',
  async () => {
    const { folder, shell } = readers();
    const read = (object: string, key: Buffer): Buffer =>
      execFileSync('sh', [shell, object], {
        env: { ...process.env, KEY: key.toString('hex') },
        maxBuffer: 1 << 26,
        stdio: ['ignore', 'pipe', 'ignore'],
      });
    for (const [at, size] of SIZES.entries()) {
      const content = randomBytes(size);
      const object = join(folder, `${at}.aesgcm`);
      writeFileSync(object, await encode(codecOf([entry('of-the-page', KEY)]), content));
      expect(read(object, KEY).equals(content), `${size} bytes`).toBe(true);
      expect(() => read(object, OTHER_KEY)).toThrow('Command failed');
    }
  },
);
