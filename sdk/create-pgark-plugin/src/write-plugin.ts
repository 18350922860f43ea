import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageJson } from './package-json.ts';
import { Refusal } from './refusal.ts';
import type { Request } from './request.ts';

/** From `src` and from `dist` alike. */
const OWN_FOLDER = fileURLToPath(new URL('..', import.meta.url));

/**
 * Writes the plugin and gives the paths of its files, relative to `directory`. Throws {@link Refusal} for a folder in which something is,
 * and changes no file that exists, whatever comes between.
 */
export function writePlugin(request: Request): readonly string[] {
  const { directory } = request;
  const { version } = JSON.parse(readFileSync(join(OWN_FOLDER, 'package.json'), 'utf8')) as {
    readonly version: string;
  };
  const files = new Map([
    ['package.json', packageJson(request, version)],
    ...filled('common', request),
    ...filled(request.kind, request),
  ]);
  checkEmpty(directory);
  const paths = [...files.keys()].sort();
  for (const path of paths) {
    const target = join(directory, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, files.get(path) ?? '', { flag: 'wx' });
  }
  return paths;
}

/** Text of each file of a template, by its path, with the names of this plugin in it. */
function filled(template: string, request: Request): readonly (readonly [string, string])[] {
  const folder = join(OWN_FOLDER, 'template', template);
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      // npm leaves files of this name out of a package, so that it has another one there.
      const target = path.slice(folder.length + 1).replace(/^gitignore$/, '.gitignore');
      return [named(target, request), named(readFileSync(path, 'utf8'), request)] as const;
    });
}

function named(text: string, request: Request): string {
  const { kind, name } = request;
  const capitals = name.split('-').map((part) => part.charAt(0).toUpperCase() + part.slice(1));
  return text
    .replaceAll('__name__', name)
    .replaceAll('__Name__', capitals.join(''))
    .replaceAll('__kind__', kind)
    .replaceAll('__package__', request.package);
}

function checkEmpty(directory: string): void {
  let names: readonly string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    const errno = (error as { readonly code?: unknown }).code;
    if (errno === 'ENOENT') return;
    throw new Refusal(
      `${directory} cannot be used: ${String(errno)}`,
      'Give another folder with "-- --directory DIR".',
    );
  }
  // A repository that was cloned empty is a good place.
  const present = names.filter((name) => name !== '.git');
  if (present.length === 0) return;
  throw new Refusal(
    `${directory} is not empty: it has ${present.slice(0, 3).join(', ')}`,
    'Nothing was written. Give a new folder with "-- --directory DIR".',
  );
}
