import { expect, test } from 'vitest';
import { withFolders } from '../../src/restore/busy-folders.ts';

test('of two pieces of work in one process one has the folder, however it is written, until it has ended', async () => {
  let fail: (error: Error) => void = () => undefined;
  const ending = new Promise<string>((_, reject) => (fail = reject));
  const first = withFolders(['/srv/data', '/srv/tablespace'], () => ending);
  const second = withFolders(['/srv/other', '/srv/./tablespace/'], async () => 'done');
  await expect(second).rejects.toMatchObject({ code: 'RESTORE_TARGET_IN_USE', message: /\/srv\/tablespace/ });
  expect(await withFolders(['/srv/other'], async () => 'done')).toBe('done');
  fail(new Error('a failure frees it too'));
  await expect(first).rejects.toThrow('a failure');
  expect(await withFolders(['/srv/data', '/srv/tablespace'], async () => 'done')).toBe('done');
});
