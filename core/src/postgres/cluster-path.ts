/** Paths inside a data directory or tablespace, as manifests and archives name them. */

/**
 * What is wrong with a path from outside, or undefined when it may be joined to a folder: relative, with `/` between
 * parts, none of which is empty, `.` or `..`, and without NUL. A trailing slash counts as an empty part.
 */
export function pathFault(path: string): string | undefined {
  if (path === '') return 'is empty';
  if (path.startsWith('/')) return 'is absolute';
  if (path.includes('\0')) return 'contains a NUL';
  for (const part of path.split('/')) {
    if (part === '') return 'has an empty part';
    if (part === '.' || part === '..') return `has a part "${part}"`;
  }
  return undefined;
}
