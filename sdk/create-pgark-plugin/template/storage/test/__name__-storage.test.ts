import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeStorage } from '@pgark/sdk/testing';
import { afterAll } from 'vitest';
import { __Name__Storage } from '../src/index.ts';

const directory = mkdtempSync(join(tmpdir(), '__package__-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const open = async (path: string): Promise<__Name__Storage> => new __Name__Storage({ path }, { directory });

describeStorage('__name__', {
  create: () => open('.'),
  // As another process would open it.
  reopen: () => open('.'),
  // Storages in trouble: give all that your back end can be driven into.
  broken: { missing: () => open('not/mounted') },
  // Why a promise of the contract is not tried here. Every id must exist, so that no gap outlives its clause.
  knownGaps: [
    ...['unavailable', 'silent', 'slow'].map((name) => ({
      id: `STOR-06/${name}`,
      reason: 'nobody is asked over a network',
    })),
    { id: 'STOR-06/credentials', reason: 'there are no credentials' },
    { id: 'STOR-06/denied', reason: 'to root, as which tests may run, nothing is denied' },
    { id: 'STOR-06/full', reason: 'it takes a small disk' },
  ],
});
