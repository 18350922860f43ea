import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { drill } from '../../src/drill/drill.ts';
import { EXPIRED } from '../../src/repository/facts.ts';
import { backup, push, repository, SYSTEM } from '../map/archive.ts';

test('H-72 a backup whose removal begins between the plan and the lease of a drill is not tried, and not said to have failed', async () => {
  const archive = await repository();
  await push(archive, [1, 2]);
  const id = await backup(archive, 1);
  const folder = mkdtempSync(join(tmpdir(), 'pgark-leaving-'));
  let released = 0;
  try {
    const result = await drill({
      repository: archive,
      folder: join(folder, 'scratch'),
      target: { kind: 'latest' },
      fetchCommand: ['false'],
      env: {},
      settings: { checks: [], amcheck: false, keep: false, preload: [], timeout: 1000, role: 'postgres' },
      hold: async () => {
        await archive.facts(SYSTEM).add(id, { kind: EXPIRED, time: 1000, data: {} });
        return async () => void released++;
      },
    });
    expect(result.record.outcome).toBe('inconclusive');
    expect(result.error?.message).toContain(`backup ${id} is being removed`);
    expect(released).toBe(1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
