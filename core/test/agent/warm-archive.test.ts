import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WarmArchive, type Openable } from '../../src/agent/warm-archive.ts';
import { pluginContext } from '../repository/repository.ts';

let folder = '';
let config = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-warm-'));
  config = join(folder, 'pgark.yaml');
  writeFileSync(config, 'first');
});
afterEach(() => rmSync(folder, { recursive: true }));

interface Numbered extends Openable {
  readonly number: number;
}

function warm(broken: () => boolean = () => false): {
  readonly archive: WarmArchive<Numbered>;
  readonly closed: readonly number[];
} {
  const closed: number[] = [];
  let opened = 0;
  const open = (): Promise<Numbered> => {
    if (broken()) return Promise.reject(new Error('it does not open'));
    const number = ++opened;
    return Promise.resolve({
      number,
      close: () => {
        closed.push(number);
        return Promise.resolve();
      },
    });
  };
  return { archive: new WarmArchive({ config, open, logger: pluginContext.logger }), closed };
}

const numberOf = ({ number }: Numbered): Promise<number> => Promise.resolve(number);

test('an archive stays open until its config changes, and the old one until nobody uses it', async () => {
  const { archive, closed } = warm();
  expect(await archive.use(numberOf)).toBe(1);
  let release = (): void => undefined;
  const long = archive.use(async ({ number }) => {
    await new Promise<void>((resolve) => (release = resolve));
    return number;
  });
  expect(await archive.use(numberOf)).toBe(1);
  writeFileSync(config, 'another');
  expect(await archive.use(numberOf)).toBe(2);
  expect(closed).toEqual([]);
  release();
  expect(await long).toBe(1);
  await expect.poll(() => closed).toEqual([1]);
  archive.renew();
  expect(await archive.use(numberOf)).toBe(3);
  await archive.close();
  expect(closed).toEqual([1, 2, 3]);
});

test('a config that is broken, or gone, is an error of each use until it is mended', async () => {
  let broken = false;
  const { archive, closed } = warm(() => broken);
  expect(await archive.use(numberOf)).toBe(1);
  broken = true;
  rmSync(config);
  for (let time = 0; time < 2; time++) await expect(archive.use(numberOf)).rejects.toThrow('it does not open');
  await expect.poll(() => closed).toEqual([1]);
  broken = false;
  writeFileSync(config, 'mended');
  expect(await archive.use(numberOf)).toBe(2);
});
