const DATA_FILE = /(?:^|[^A-Za-z0-9_/])(?:\.\/)?((?:base|global|pg_tblspc)\/[A-Za-z0-9_./]*[A-Za-z0-9_])/;

/**
 * The files in which the server found pages with a wrong checksum, from the warnings it sent during the backup. The texts are in the
 * language of the server, hence only the path in them is looked for (`basebackup.c`, `sendFile`).
 */
export function damagedFiles(warnings: Iterable<string>): readonly string[] {
  const paths = new Set<string>();
  for (const warning of warnings) {
    const path = DATA_FILE.exec(warning)?.[1];
    if (path !== undefined) paths.add(path);
  }
  return [...paths];
}
