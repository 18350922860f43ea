#!/usr/bin/env node
// Runs on any Node that knows modules, so that an old one gets a sentence instead of a stack trace.
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';

// PostgreSQL takes an exit code of 1 to 125 from a restore_command for the end of the archive, and would promote; a standby
// would be stopped by a greater one.
const failure = (code) => (process.argv.includes('wal-fetch') ? (existsSync('standby.signal') ? 2 : 255) : code);
const [major, minor] = process.versions.node.split('.').map(Number);
const supported =
  (major === 22 && minor >= 18) || (major === 24 && minor >= 11) || (major === 25 && minor >= 0) || major >= 26;
/** What PostgreSQL runs for each segment asks an agent first, which takes no more than a small file of its own. */
const askAgent = async () =>
  process.argv.includes('wal-push') || process.argv.includes('wal-fetch')
    ? (await import('../dist/wal-client.js')).clientMain(process.argv)
    : undefined;
const run = async () => {
  const code = await askAgent();
  if (code !== undefined) process.exit(code);
  // Compressing takes as many threads of Node's pool as there are CPUs, for each object: with the four of the default, a look at a file
  // would wait for blocks that are compressed, and nothing would be while files are synced. Read when the pool is first used.
  process.env.UV_THREADPOOL_SIZE ??= String(8 + availableParallelism());
  await (await import('../dist/cli.js')).main(process.argv);
};
if (supported) {
  // Until the program itself says how it ends: nobody may take a run that just stops for a success.
  process.exitCode = failure(1);
  run().catch((error) => {
    process.stderr.write(
      error.code === 'ERR_MODULE_NOT_FOUND'
        ? `pgark: error: the program is not built: ${error.message}\npgark: hint: Run "npm run build" in the source tree, or reinstall the package.\n`
        : `pgark: error: cannot start: ${error.stack}\n`,
    );
    process.exitCode = failure(1);
  });
} else {
  process.stderr.write(
    `pgark: error: Node ${process.versions.node} is too old or not supported\n` +
      'pgark: hint: Install Node 22.18 or later, 24.11 or later, or 26, and run the command again.\n',
  );
  process.exitCode = failure(3);
}
