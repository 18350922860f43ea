/** What the script of the page says of an answer, by a document that has only what it needs for that. */
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { SCRIPT } from '../../../src/daemon/page/asset-script.ts';

/** Runs the script in a page with a live part, and one look of it. Gives the text of its banner; undefined when that is hidden. */
async function bannerAfter(status: number): Promise<string | undefined> {
  const line = { textContent: '' };
  const banner = { hidden: true, querySelector: () => line };
  let tick: () => Promise<void> = async () => undefined;
  const nothing = { querySelectorAll: () => [] };
  const document = {
    body: { dataset: { refresh: '5000' } },
    hidden: false,
    getElementById: (id: string) => (id === 'lost' ? banner : null),
    querySelector: (selector: string) => (selector === '[data-live]' ? {} : null),
    querySelectorAll: () => [],
    addEventListener: () => undefined,
  };
  runInNewContext(SCRIPT, {
    document,
    location: { href: 'http://127.0.0.1/clusters/gone' },
    AbortSignal,
    DOMParser: class {
      parseFromString(): unknown {
        return nothing;
      }
    },
    fetch: async () => new Response('', { status }),
    setInterval: (work: typeof tick) => void (tick = work),
  });
  await tick();
  return banner.hidden ? undefined : line.textContent;
}

test('what is shown is called old when its address is gone, one has to sign in again, or the daemon fails', async () => {
  expect(await bannerAfter(200)).toBeUndefined();
  expect(await bannerAfter(404)).toMatch(/^There is nothing at this address any more: what is shown here is as of /);
  expect(await bannerAfter(401)).toMatch(/^You are not signed in any more/);
  expect(await bannerAfter(503)).toMatch(/^The daemon does not answer/);
});
