import { expect, test } from 'vitest';
import { withDeadline } from '../../src/wal-command/deadline.ts';

test('a timeout of some months is one', async () => {
  // wal-push --timeout 3000000: as somebody writes it who wants none
  const work = async (): Promise<string> => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    return 'archived';
  };
  await expect(withDeadline('archiving', 3_000_000_000, undefined, work)).resolves.toBe('archived');
});
