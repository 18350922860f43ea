import { spawn } from 'node:child_process';
import { once } from 'node:events';
import assert from 'node:assert/strict';
import { errnoOf } from 'pgark/contracts';
import { assertBytes, CodecClauseSkipped, inChunks, type CodecClause, type CodecClauseContext } from './clause.ts';

/** The well-known tool of the format: CODEC-02. */
export const TOOL_CLAUSES: readonly CodecClause[] = [
  {
    id: 'CODEC-02/tool-reads',
    title: 'CODEC-02 the well-known tool reads what the codec writes',
    async run(context) {
      const { tool } = context.options;
      if (tool === undefined) throw new CodecClauseSkipped('the suite was given no tool');
      for (const bytes of samples(context)) {
        const encoded = await context.encode(inChunks(bytes, 300_000));
        assertBytes(await run(tool.decode, encoded), bytes, `${bytes.byteLength} bytes, read by ${tool.decode[0]}`);
      }
    },
  },
  {
    id: 'CODEC-02/tool-writes',
    title: 'CODEC-02 the codec reads what the well-known tool writes',
    async run(context) {
      const { tool } = context.options;
      if (tool === undefined) throw new CodecClauseSkipped('the suite was given no tool');
      for (const command of tool.encode) {
        for (const bytes of samples(context)) {
          const encoded = await run(command, bytes);
          const decoded = await context.decode(inChunks(encoded, 300_000));
          assertBytes(decoded, bytes, `${bytes.byteLength} bytes, written by ${command.join(' ')}`);
        }
      }
    },
  },
];

function samples(context: CodecClauseContext): readonly Buffer[] {
  const { blockSize } = context;
  return [Buffer.alloc(0), Buffer.from('x'), context.content(2 * blockSize + 12_345), Buffer.alloc(3 * blockSize)];
}

/** Standard output of a command that is given `input`; asserts that it succeeds. */
async function run(command: readonly [string, ...string[]], input: Uint8Array): Promise<Buffer> {
  const [file, ...parameters] = command;
  const child = spawn(file, parameters, { stdio: ['pipe', 'pipe', 'pipe'] });
  // A tool that stops reading says why on standard error and by its exit code.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [output, message, exit] = await Promise.all([
    collect(child.stdout),
    collect(child.stderr),
    once(child, 'close').catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') throw new CodecClauseSkipped(`${file} is not installed`);
      throw error;
    }),
  ]);
  assert.equal(exit[0], 0, `${command.join(' ')}: ${message.toString()}`);
  return output;
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}
