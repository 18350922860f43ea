/** Where the config file is looked for. Loads nothing: the client of the agent needs it before anything else is there. */
import { join, resolve } from 'node:path';

const NAMES = ['pgark.yaml', 'pgark.yml', 'pgark.json'];

/** The files that are looked for when none is named. */
export function searched(directory: string): readonly string[] {
  return [resolve(directory), '/etc/pgark'].flatMap((folder) => NAMES.map((name) => join(folder, name)));
}
