/** The scoreboard is drawn from its JSON, and claims nothing that its numbers do not bear. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand, Watched, type Figure } from '../bench/measure.ts';
import { pages } from '../bench/publish.ts';
import { readResult, withGroup, type Group, type Result } from '../bench/result.ts';
import { interval, judge } from '../bench/verdict.ts';
import { PROJECT } from './pages.ts';

const SAMPLE = readResult(join(PROJECT, 'test/docs/bench-result.json'));

describe('an interval that holds the median', () => {
  test.each([
    [[5, 1, 3, 2, 4], 1, 5],
    [[1, 2, 3, 4, 5, 6, 7], 1, 7],
    [[1, 2, 3, 4, 5, 6, 7, 8], 2, 7],
    [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 2, 9],
    [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 3, 9],
    [[7], 7, 7],
  ])('of %j', (values, low, high) => {
    expect(interval(values)).toMatchObject({ low, high });
  });

  test('does so in nine of ten draws at least', () => {
    let seed = 1;
    const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
    for (const count of [5, 7, 8, 9, 12]) {
      let held = 0;
      for (let draw = 0; draw < 2000; draw++) {
        const { low, high } = interval(Array.from({ length: count }, () => random() ** 3));
        if (low <= 0.125 && 0.125 <= high) held++;
      }
      expect(held, `${count} values`).toBeGreaterThan(2000 * 0.88);
    }
  });
});

describe('a verdict', () => {
  const PEER = [10, 10, 10, 10, 10];
  const figure = (ours: readonly number[], more: Partial<Figure> = {}): Figure => ({
    name: 'figure',
    unit: 's',
    better: 'less',
    ours,
    peer: PEER.slice(0, ours.length),
    peerName: 'peer',
    target: { ratio: 1 },
    ...more,
  });

  test.each<[string, Figure, number, object]>([
    ['met', figure([8, 9, 9, 9, 10]), 0, { outcome: 'met' }],
    ['missed', figure([11, 12, 11, 11, 12]), 0, { outcome: 'missed' }],
    ['of ratios of pairs', figure([8, 80, 9, 9, 10], { peer: [10, 100, 10, 10, 10] }), 0, { outcome: 'met' }],
    ['of more', figure([18, 19, 20, 21, 19], { better: 'more', target: { ratio: 1.8 } }), 0, { outcome: 'met' }],
    [
      'of a value',
      figure([500, 510, 520, 500, 505], { better: 'more', target: { value: 600 } }),
      0,
      { outcome: 'missed' },
    ],
    ['of two targets', figure([8, 8, 8, 8, 8], { target: { ratio: 1, value: 7 } }), 0, { outcome: 'missed' }],
    [
      'within the spread',
      figure([9, 9, 9, 11, 9]),
      0,
      { outcome: 'not decided', reason: expect.stringContaining('spread') },
    ],
    ['of noise', figure([4, 9, 9, 9, 9]), 0, { outcome: 'not decided', reason: expect.stringContaining('noisy') }],
    ['of few rounds', figure([5, 5, 5, 5]), 0, { outcome: 'not decided', reason: expect.stringContaining('rounds') }],
    [
      'on a busy machine',
      figure([5, 5, 5, 5, 5]),
      0.2,
      { outcome: 'not decided', reason: expect.stringContaining('20 %') },
    ],
    ['without a peer that it needs', { ...figure([5, 5, 5, 5, 5]), peer: [] }, 0, { outcome: 'not decided' }],
    ['of nothing that was wanted', { name: 'x', unit: 's', better: 'less', ours: [1] }, 0, { outcome: 'no target' }],
  ])('%s', (_, given, busy, wanted) => {
    expect(judge(given, busy)).toMatchObject(wanted);
  });
});

describe.skipIf(process.platform !== 'linux')('a measured command', () => {
  /** Holds 100 MB, has computed for 0.2 s, and says so; its parent ends with it. */
  const CHILD = `const held = Buffer.alloc(1e8, 1); while (process.cpuUsage().user < 2e5); console.log('ready', held.length); setInterval(() => {}, 1e6)`;
  const PARENT = `const child = require('node:child_process').spawn(process.execPath, ['-e', process.argv[1]], { stdio: 'inherit' });
    process.on('SIGTERM', () => { child.kill(); child.once('exit', () => process.exit(0)); })`;

  test.each([true, false])('its memory and CPU time, family %s', async (family) => {
    const watched = new Watched({ program: process.execPath, args: ['-e', PARENT, CHILD], family });
    const deadline = Date.now() + 20_000;
    while (!watched.output.includes('ready') && Date.now() < deadline) await sleep(20);
    const { peakBytes, cpuSeconds } = await watched.stop();
    expect(peakBytes > 1e8).toBe(family);
    expect(peakBytes).toBeGreaterThan(2e7);
    if (family) expect(cpuSeconds).toBeGreaterThanOrEqual(0.19);
  });

  test('reads a file through a pipe, and is itself what is watched', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pgark-bench-'));
    try {
      const from = join(PROJECT, 'package-lock.json');
      const to = join(folder, 'copy');
      const program = `if (!require('node:fs').fstatSync(0).isFIFO()) process.exit(3); process.stdin.pipe(process.stdout); console.error(process.pid)`;
      const watched = new Watched({ program: process.execPath, args: ['-e', program], pipeFrom: from, pipeTo: to });
      const { stderr } = await watched.finish();
      expect(Number(stderr)).toBe(watched.child.pid);
      expect(readFileSync(to).equals(readFileSync(from))).toBe(true);
      await expect(runCommand({ program: 'false', args: [], pipeFrom: from })).rejects.toThrow('ended with 1');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('what is made of a result', () => {
  const made = pages(SAMPLE);

  test('is a page and pictures, each named on the page', () => {
    expect(Object.keys(made).toSorted()).toEqual(['README.md', 'codecs.svg', 'memory.svg']);
    expect([...(made['README.md'] ?? '').matchAll(/\]\((\w+\.svg)\)/g)].map(([, name]) => name)).toEqual([
      'codecs.svg',
      'memory.svg',
    ]);
  });

  test('the table has medians, ratios, verdicts and what was left out', () => {
    const page = made['README.md'] ?? '';
    expect(page).toContain(
      '| faster | 200 MB/s | 100 MB/s | `zstd -1 \\| cat` | 2.00 (1.90 to 2.10) | at least 1.00 of the peer | met |',
    );
    expect(page).toContain(
      '| slower | 4.10 s | 2.00 s | `peer` | 2.05 (2.00 to 2.15) | at most 1.00 of the peer | missed |',
    );
    expect(page).toContain('- not measured: lz4: the command lz4 is not installed');
    expect(page).toContain('| a command | 251 | 250 | missed |');
  });

  test('a picture is well-formed, to scale, and has colours for dark pages', () => {
    const svg = made['codecs.svg'] ?? '';
    expect(svg).toContain('prefers-color-scheme: dark');
    // Every element that is opened is closed: what the text brings along is escaped.
    const open: string[] = [];
    for (const [, slash, name, , closed] of svg.matchAll(/<(\/?)(\w+)((?:\s[\w-]+="[^"<]*")*)\s*(\/?)>/g)) {
      if (slash === '/') expect(open.pop()).toBe(name);
      else if (closed !== '/') open.push(name ?? '');
    }
    expect(open).toEqual([]);
    expect(svg.match(/</g)?.length).toBe([...svg.matchAll(/<(\/?)(\w+)((?:\s[\w-]+="[^"<]*")*)\s*(\/?)>/g)].length);
    const widths = [...svg.matchAll(/<rect class="(\w+)" x="330" y="\d+" width="([\d.]+)"/g)].map(([, kind, width]) => [
      kind,
      Number(width),
    ]);
    // The largest value, a whisker's end, is 310 wide: 210 of the first figure, 4.3 of the second, 710 of the third.
    expect(widths.map(([kind]) => kind)).toEqual(['ours', 'peer', 'ours', 'peer', 'ours']);
    for (const [at, value] of [200 / 210, 100 / 210, 4.1 / 4.3, 2 / 4.3, 700 / 710].entries())
      expect(widths[at]?.[1]).toBeCloseTo(value * 310, 0);
  });

  test('a group that is measured again takes the place of the old one', () => {
    const [codecs] = SAMPLE.groups as [Group];
    const storage = { ...codecs, name: 'storage' };
    const backup = { ...codecs, name: 'backup' };
    const again = { ...codecs, rounds: 9 };
    const result = [storage, backup, again].reduce<Result>(withGroup, SAMPLE);
    expect(result.groups.map(({ name, rounds }) => [name, rounds])).toEqual([
      ['codecs', 9],
      ['backup', 5],
      ['storage', 5],
    ]);
  });
});

test('what is published is made of the published result', () => {
  const folder = join(PROJECT, 'docs/bench');
  const made = pages(readResult(join(folder, 'result.json')));
  const there = readdirSync(folder).filter((name) => name !== 'result.json');
  expect(there.toSorted()).toEqual(Object.keys(made).toSorted());
  for (const name of there) {
    expect(
      readFileSync(join(folder, name), 'utf8') === made[name],
      `${name}: npm run bench -- --from docs/bench/result.json --publish`,
    ).toBe(true);
  }
  expect(existsSync(join(PROJECT, 'docs/how-to/measure.md'))).toBe(true);
});
