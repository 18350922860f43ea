import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { formatBytes, formatDuration, formatTime } from '../../src/documents/format.ts';
import { createLogger } from '../../src/cli/log.ts';
import { Output, tableLines } from '../../src/cli/output.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import { Secret } from '../../src/contracts/secret.ts';

function sink(isTTY = false): Writable & { text: string; isTTY: boolean; columns: number } {
  const stream = new Writable({
    write(chunk: Buffer, _, done): void {
      made.text += chunk.toString();
      done();
    },
  });
  const made = Object.assign(stream, { text: '', isTTY, columns: 20 });
  return made;
}

function output(options: { json?: boolean; isTTY?: boolean } = {}): {
  output: Output;
  out: { text: string };
  err: { text: string };
} {
  const [stdout, stderr] = [sink(), sink(options.isTTY)];
  return { output: new Output({ json: options.json ?? false, streams: { stdout, stderr } }), out: stdout, err: stderr };
}

describe('format', () => {
  test.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1_048_575, '1.0 MiB'],
    [16 * 2 ** 20, '16.0 MiB'],
    [1.5 * 2 ** 40, '1.5 TiB'],
    [2 ** 63, '8192.0 PiB'],
  ])('%d bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  test.each([
    [0, '0 ms'],
    [999, '999 ms'],
    [4200, '4.2 s'],
    [59_990, '1m 00s'],
    [185_000, '3m 05s'],
    [3_599_999, '1h 00m'],
    [7_800_000, '2h 10m'],
    [86_399_999, '1d 0h'],
    [442_800_000, '5d 3h'],
  ])('%d ms are %s', (milliseconds, text) => expect(formatDuration(milliseconds)).toBe(text));

  test('times are UTC', () => expect(formatTime(1_763_707_440_123)).toBe('2025-11-21 06:44:00Z'));
});

describe('Output', () => {
  test('tables are aligned, numbers on the right, what is unknown is a dash', () => {
    const rows = [
      { id: 'a', files: 5, size: '1.0 KiB', lsn: 1n },
      { id: 'long name', files: 12_345, size: '20.5 MiB', lsn: undefined },
    ];
    const lines = tableLines(rows, [
      { title: 'ID', value: (row) => row.id },
      { title: 'FILES', value: (row) => row.files },
      { title: 'SIZE', value: (row) => row.size, align: 'right' },
      { title: 'LSN', value: (row) => row.lsn },
    ]);
    expect(lines).toEqual([
      'ID         FILES      SIZE  LSN',
      'a              5   1.0 KiB    1',
      'long name  12345  20.5 MiB    -',
    ]);
    expect(tableLines([], [{ title: 'ID', value: () => 1 }])).toEqual(['ID']);
  });

  test('errors are two lines for people and one object for programs, on stderr', () => {
    const error = new ArchiveError('WAL_GAP', 'no WAL', { hint: 'Do.', details: { from: 5n } });
    const people = output();
    people.output.error(error);
    expect(people.err.text).toBe('pgark: error: no WAL\npgark: hint: Do.\n');
    const programs = output({ json: true });
    programs.output.error(error);
    expect(JSON.parse(programs.err.text)).toEqual({
      error: {
        code: 'WAL_GAP',
        meaning: expect.any(String) as string,
        message: 'no WAL',
        hint: 'Do.',
        retriable: false,
        details: { from: '5' },
      },
    });
    expect(people.out.text + programs.out.text).toBe('');
  });

  test('progress is drawn on a terminal and gives way to other lines', () => {
    const { output: screen, err } = output({ isTTY: true });
    screen.progress(() => 'a line that is longer than the terminal');
    screen.progress(() => 'too soon to be drawn');
    screen.write('pgark: warn: x\n');
    screen.progress(() => '2');
    screen.progressDone();
    expect(err.text).toBe('\r\u001B[Ka line that is long\r\u001B[Kpgark: warn: x\n\r\u001B[K2\r\u001B[K');
  });

  test('progress elsewhere is a plain line now and then; H-83 nothing with --json', () => {
    const plain = output();
    for (const text of ['1', '2', '3']) plain.output.progress(() => text);
    expect(plain.err.text).toBe('pgark: 1\n');
    const json = output({ json: true });
    json.output.progress(() => '1');
    json.output.note('x');
    json.output.json({ lsn: 1n });
    expect(json.err.text).toBe('');
    expect(JSON.parse(json.out.text)).toEqual({ lsn: '1' });
  });
});

describe('log', () => {
  async function logged(format: 'json' | 'pretty', times = false): Promise<string[]> {
    let text = '';
    const logger = await createLogger({ level: 'info', format, times, write: (line) => void (text += line) });
    logger.debug({}, 'not shown');
    logger.info({ file: 'a b', bytes: 12, lsn: 7n, none: undefined }, 'shipped');
    logger.warn({ error: new ArchiveError('WAL_GAP', 'no WAL') }, 'gap');
    logger.error({ key: new Secret('hunter2') }, 'bad');
    return text.trimEnd().split('\n');
  }

  test('lines for people', async () => {
    expect(await logged('pretty')).toEqual([
      'pgark: info: shipped (file="a b" bytes=12 lsn=7)',
      'pgark: warn: gap (error="no WAL")',
      'pgark: error: bad (key="[redacted]")',
    ]);
    expect((await logged('pretty', true))[1]).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z pgark: warn: gap/);
  });

  test('one JSON object per line for programs', async () => {
    const lines = (await logged('json')).map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toMatchObject([
      { level: 'info', time: expect.stringMatching(/Z$/) as string, msg: 'shipped', file: 'a b', bytes: 12, lsn: '7' },
      { level: 'warn', error: { code: 'WAL_GAP', message: 'no WAL' } },
      { level: 'error', key: '[redacted]' },
    ]);
  });
});
