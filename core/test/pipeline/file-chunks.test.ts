import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { releaseChunk } from '../../src/contracts/lease.ts';
import { fileChunks } from '../../src/pipeline/file-chunks.ts';
import { later } from '../../../test/support/later.ts';
import { removeFolder, temporaryFolder } from '../../../test/support/postgres.ts';

function fileOf(content: Uint8Array): string {
  const path = join(later(temporaryFolder('chunks'), removeFolder), 'file');
  writeFileSync(path, content);
  return path;
}

test('the bytes of a file come in order, whether chunks are released at once, late or never', async () => {
  const content = randomBytes(3 * 1024 * 1024 + 17);
  const path = fileOf(content);
  for (const when of ['at once', 'late', 'never']) {
    const copies: Buffer[] = [];
    const held: Uint8Array[] = [];
    for await (const chunk of fileChunks(path)) {
      copies.push(Buffer.from(chunk));
      if (when === 'at once') releaseChunk(chunk);
      else held.push(chunk);
    }
    expect(Buffer.concat(copies).equals(content), when).toBe(true);
    if (when === 'never') expect(Buffer.concat(held).equals(content)).toBe(true);
    else for (const chunk of held) releaseChunk(chunk);
  }
});

test('memory is given back: of released chunks at the end, of others when they are released', async () => {
  const path = fileOf(randomBytes(2 * 1024 * 1024));
  const chunks: Uint8Array[] = [];
  for await (const chunk of fileChunks(path)) chunks.push(chunk);
  const [first, second] = chunks as [Uint8Array, Uint8Array];
  releaseChunk(first);
  await nextTurn();
  expect([first.byteLength, second.byteLength]).toEqual([0, 1024 * 1024]);
  for await (const chunk of fileChunks(path)) {
    chunks.push(chunk);
    releaseChunk(chunk);
  }
  await nextTurn();
  expect(chunks.slice(2).map(({ byteLength }) => byteLength)).toEqual([0, 0]);
});

test('who leaves early leaves nothing open, and a file that is not there is told with its code', async () => {
  const path = fileOf(randomBytes(2 * 1024 * 1024));
  for await (const chunk of fileChunks(path)) {
    expect(chunk.byteLength).toBe(1024 * 1024);
    break;
  }
  await expect(async () => {
    for await (const _ of fileChunks(`${path}.away`)) expect.unreachable();
  }).rejects.toMatchObject({ code: 'ENOENT' });
});
