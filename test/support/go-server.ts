/** Servers that are written in Go and distributed as source: built once with the Go command, kept for later runs. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const CACHE = process.env['PGARK_TEST_CACHE'] ?? join(homedir(), '.cache', 'pgark-test', 'bin');

/** Building a large server takes minutes on a small machine; longer than this is a network that hangs. */
const TIMEOUT_MS = 15 * 60_000;

/**
 * The path of a server's program, built by `go install` if it is not in the cache yet; undefined, with a warning that says why, when
 * there is no Go or it could not be built. `module` carries a version; `binary` is the name of the program it makes.
 *
 * @example
 * const program = goServer('example.org/owner/server/cmd/server@v1.2.3', 'server');
 * const missing = program === undefined ? unavailable('server', 'install Go') : undefined;
 */
export function goServer(module: string, binary: string): string | undefined {
  const program = goProgram(module, binary);
  if (existsSync(program)) return program;
  const go = goCommand();
  if (go === undefined) return undefined;
  mkdirSync(CACHE, { recursive: true });
  // Built beside and renamed: another test process may look at the same moment.
  const folder = mkdtempSync(join(CACHE, '.build-'));
  try {
    execFileSync(go, ['install', module], {
      env: { ...process.env, GOBIN: folder, CGO_ENABLED: '0' },
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: TIMEOUT_MS,
    });
    renameSync(join(folder, binary), program);
    return program;
  } catch (error) {
    const output = (error as { stderr?: Buffer }).stderr?.toString().trim().split('\n').at(-1);
    process.emitWarning(`${module} could not be built: ${output ?? String(error)}`);
    return undefined;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Where the program is, or would be, once it is built. */
export function goProgram(module: string, binary: string): string {
  const version = module.slice(module.lastIndexOf('@') + 1);
  if (version === module) throw new Error(`${module} names no version`);
  // The version is part of the name, so that a new one is built anew.
  return join(CACHE, `${binary}-${version}`);
}

/** The Go command of the PATH, or of the place where its own installer puts it. */
function goCommand(): string | undefined {
  for (const command of ['go', '/usr/local/go/bin/go']) {
    try {
      execFileSync(command, ['version'], { stdio: 'ignore' });
      return command;
    } catch {
      continue; // not there: the next place
    }
  }
  return undefined;
}
