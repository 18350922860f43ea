import { expect, test } from 'vitest';
import type { Connection } from '../src/connection.ts';
import { Root, TEMPORARY_FOLDER } from '../src/root.ts';

/** A connection on which the folder is there and the mark is not; `meanwhile` happens before the answer comes. */
function unmarked(meanwhile: () => void): Connection {
  const stat = async (path: string): Promise<unknown> => {
    if (!path.endsWith(TEMPORARY_FOLDER)) return { isDirectory: () => true, mode: 0o040700 };
    meanwhile();
    throw Object.assign(new Error('No such file'), { code: 2 });
  };
  return { stat } as unknown as Connection;
}

test('a root that another call marks while it is looked at was not replaced; one that was marked before was', async () => {
  const root = new Root('/archive', 0o750);
  let looks = 0;
  const connection = unmarked(() => {
    looks += 1;
    root.mark();
  });
  await root.check(connection);
  expect(looks).toBe(1);
  await expect(root.check(connection)).rejects.toMatchObject({ code: 'STORAGE_MISCONFIGURED' });
});
