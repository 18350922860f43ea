import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isArchiveError } from '../../src/contracts/errors.ts';
import { formatFileList, readFileList, type BackupFile } from '../../src/repository/file-list.ts';
import { collect } from '../../src/repository/objects.ts';

const file = (path: string, at = 0): BackupFile => ({
  path,
  part: 'base/0000.tar',
  offset: 512 + at * 1024,
  size: at,
  mode: 0o600,
  sha256: 'ab'.repeat(32),
});

async function read(text: string | Uint8Array, chunk = 1000): Promise<BackupFile[]> {
  const bytes = Buffer.from(text as string);
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.byteLength; at += chunk) yield bytes.subarray(at, at + chunk);
  }
  const files: BackupFile[] = [];
  for await (const entry of readFileList(chunks(), 'files.json')) files.push(entry);
  return files;
}

test('a list comes back as it was written, is JSON, and has a line for each file', async () => {
  const name = fc
    .string({ unit: 'binary', minLength: 1 })
    .map((text) => `base/${text.replaceAll(/[/\0]|^\.+$/g, '_')}`);
  await fc.assert(
    fc.asyncProperty(fc.array(name), fc.integer({ min: 1, max: 300 }), async (names, chunk) => {
      const files = names.map(file);
      const list = formatFileList(files);
      const bytes = await collect(list, 'list');
      expect(await collect(list, 'again')).toEqual(bytes);
      expect(await read(bytes, chunk)).toEqual(files);
      expect(JSON.parse(Buffer.from(bytes).toString())).toEqual({ files });
      expect(Buffer.from(bytes).toString().split('\n')).toHaveLength(files.length + 3);
    }),
    { numRuns: 25 },
  );
});

test('a name that is no UTF-8 comes back', async () => {
  const files = [file('base/\udcff\udc80')];
  expect(await read(await collect(formatFileList(files), 'list'))).toEqual(files);
});

test('a long list is written in chunks', async () => {
  const files = Array.from({ length: 5000 }, (_, at) => file(`base/5/${at}`, at));
  let chunks = 0;
  for await (const chunk of formatFileList(files)) chunks += chunk.byteLength > 0 ? 1 : 0;
  expect(chunks).toBeGreaterThan(2);
});

test('a list that is cut short, or holds anything else, is refused', async () => {
  const whole = Buffer.from(await collect(formatFileList([file('a'), file('b')]), 'list')).toString();
  const refused = expect.toSatisfy((error) => isArchiveError(error, 'REPOSITORY_FORMAT'));
  for (let length = 0; length < whole.length - 1; length++)
    await expect(read(whole.slice(0, length))).rejects.toEqual(refused);
  for (const wrong of [
    whole.replace('"path":"a"', '"path":"../a"'),
    whole.replace('"path":"a"', '"path":"/a"'),
    whole.replace('base/0000.tar', '../0000.tar'),
    whole.replace('"offset":512', '"offset":-1'),
    whole.replace('"mode":384', '"mode":65535'),
    whole.replace('"sha256":"ab', '"sha256":"zz'),
    `${whole}{}\n`,
    whole.replace('},\n', '}\n'),
    whole.replace('}\n]', '},\n]'),
    `x${whole}`,
    'x'.repeat(100_000),
  ])
    await expect(read(wrong)).rejects.toEqual(refused);
});
