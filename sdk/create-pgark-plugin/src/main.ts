import { Refusal } from './refusal.ts';
import { HELP, parseRequest } from './request.ts';
import { writePlugin } from './write-plugin.ts';

/** Does what the command line says and gives the exit code: 0, 1 when it could not be written, 3 for a wrong command line. */
export function main(args: readonly string[], env: NodeJS.ProcessEnv): number {
  try {
    const request = parseRequest(args, env);
    if (request === undefined) {
      process.stdout.write(HELP);
      return 0;
    }
    const files = writePlugin(request);
    const lines = [
      `wrote ${request.package} to ${request.directory}:`,
      ...files.map((file) => `  ${file}`),
      `next: cd ${request.directory} && npm install && npm run build && npm test`,
    ];
    process.stdout.write(`${lines.join('\n')}\n`);
    return 0;
  } catch (error) {
    if (error instanceof Refusal) {
      process.stderr.write(`create-pgark-plugin: error: ${error.message}\ncreate-pgark-plugin: hint: ${error.hint}\n`);
      return 3;
    }
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(`create-pgark-plugin: error: the plugin could not be written: ${message}\n`);
    return 1;
  }
}
