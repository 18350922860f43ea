import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { ArchiveError } from '../../src/contracts/errors.ts';
import { loadConfig, type LoadedConfig } from '../../src/config/load.ts';

/** A folder that is deleted when the test ends. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'pgark-config-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export const MINIMAL = 'repositories: [ { storage: { use: fs, path: /archive } } ]\n';

export interface LoadTestOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cluster?: string;
  readonly name?: string;
}

/** Loads a config of this text from a folder of its own. */
export async function load(text: string, options: LoadTestOptions = {}): Promise<LoadedConfig> {
  const directory = folder();
  writeFileSync(join(directory, options.name ?? 'pgark.yaml'), text);
  return loadConfig({ directory, env: options.env ?? {}, cluster: options.cluster });
}

/** The problems for which a text is refused, each as a line. */
export async function problems(text: string, options: LoadTestOptions = {}): Promise<readonly string[]> {
  const error = await load(text, options).then(
    () => {
      throw new Error('the config was taken');
    },
    (reason: unknown) => reason as ArchiveError,
  );
  if (error.code !== 'CONFIG_INVALID') throw error;
  return error.message
    .replace(/^the config has \d+ problems:\n/, '')
    .split('\n')
    .map((line) => line.trim());
}
