/**
 * `npm run bench`: figures of pgark beside its peers, run in turn on one server, medians and ratios.
 * `npm run bench -- --quick` for a look, `-- --only commits|backup|storage`, `-- --rounds N --scale N --seconds N`.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { benchBackup, type BackupVariant } from './backup.ts';
import { benchServer, fill, TOOLS } from './cluster.ts';
import { benchCommits } from './commits.ts';
import { median, ratio, type Figure } from './measure.ts';
import { benchStorage } from './storage.ts';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    rounds: { type: 'string' },
    scale: { type: 'string' },
    seconds: { type: 'string' },
  },
});

const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
const scale = Number(values.scale ?? (values.quick ? 10 : 60));
const seconds = Number(values.seconds ?? (values.quick ? 5 : 15));
const wanted = (name: string): boolean => values.only === undefined || values.only === name;

const VARIANTS: readonly BackupVariant[] = [
  { zstd: false, sha256: false },
  { zstd: false, sha256: true },
  { zstd: true, sha256: false },
  { zstd: true, sha256: true },
];

/** No command may need more; with parts of a gigabyte and S3, a little more. */
const MEMORY_LIMIT = 250e6;
const PARTS_MEMORY_LIMIT = 300e6;

async function main(): Promise<void> {
  if (!existsSync(`${TOOLS}/pg_basebackup`))
    throw new Error(`the peers are missing: install postgresql-15 (looked in ${TOOLS})`);
  const server = await benchServer();
  const figures: Figure[] = [];
  const peaks: Record<string, number> = {};
  try {
    const bytes = await fill(server, scale);
    console.error(`cluster of ${(bytes / 1e9).toFixed(2)} GB, ${rounds} rounds`);
    if (wanted('commits')) {
      for (const clients of [1, 8]) {
        const { figure, peakBytes } = await benchCommits(server, { rounds, seconds, clients });
        figures.push(figure);
        peaks['receive'] = Math.max(peaks['receive'] ?? 0, peakBytes);
        await server.query(`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active`);
      }
    }
    if (wanted('backup')) {
      for (const variant of VARIANTS) {
        const { figure, peaks: found } = await benchBackup(server, { rounds, ...variant });
        figures.push(figure);
        for (const [command, bytes] of Object.entries(found)) peaks[command] = Math.max(peaks[command] ?? 0, bytes);
      }
    }
    if (wanted('storage')) {
      const found = await benchStorage(server, rounds);
      figures.push(...found.figures);
      Object.assign(peaks, found.peaks);
    }
  } finally {
    await server.destroy();
  }
  report(figures, peaks);
}

function report(figures: readonly Figure[], peaks: Readonly<Record<string, number>>): void {
  const spread = (values: readonly number[]): string =>
    `${Math.min(...values).toFixed(2)}..${Math.max(...values).toFixed(2)}`;
  for (const figure of figures) {
    console.log(
      `${figure.name}: pgark ${median(figure.ours).toFixed(2)} ${figure.unit} (${spread(figure.ours)}), ` +
        `${figure.peerName} ${median(figure.peer).toFixed(2)} ${figure.unit} (${spread(figure.peer)}), ` +
        `ratio ${ratio(figure).toFixed(3)} (${figure.better} is better)`,
    );
  }
  for (const [command, bytes] of Object.entries(peaks)) {
    const limit = command.includes('parts') ? PARTS_MEMORY_LIMIT : MEMORY_LIMIT;
    const verdict = bytes > limit ? `, more than the limit of ${limit / 1e6} MB` : '';
    console.log(`peak memory of pgark ${command}: ${(bytes / 1e6).toFixed(0)} MB${verdict}`);
  }
  mkdirSync('.bench', { recursive: true });
  writeFileSync(
    '.bench/result.json',
    `${JSON.stringify({ time: new Date().toISOString(), node: process.version, figures, peaks }, undefined, 2)}\n`,
  );
}

await main();
