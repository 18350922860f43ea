#!/usr/bin/env node
// Runs on any Node that knows modules, so that an old one gets a sentence instead of a stack trace.
const [major, minor] = process.versions.node.split('.').map(Number);
if ((major === 22 && minor >= 18) || (major === 24 && minor >= 11) || major === 25 || major >= 26) {
  const { main } = await import('../dist/main.js');
  process.exitCode = main(process.argv.slice(2), process.env);
} else {
  process.stderr.write(
    `create-pgark-plugin: error: Node ${process.versions.node} is too old or not supported\n` +
      'create-pgark-plugin: hint: Install Node 22.18 or later, 24.11 or later, or 26, and run the command again.\n',
  );
  process.exitCode = 3;
}
