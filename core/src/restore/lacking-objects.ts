/** Which objects of a backup its storage no longer lists as they were stored. */
import type { CallOptions } from '../contracts/storage.ts';
import { allAnswers } from '../repository/all-answers.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { Fact } from '../repository/facts.ts';
import { plainName, type BackupCopy } from './backup-source.ts';
import { damagedKeys, readableFacts } from './verify-findings.ts';

/** The objects of a backup that are not there, or have another size than its record says, by their names as stored. */
export function lackingObjects(
  { parts, manifest, fileList }: Pick<BackupRecord, 'parts' | 'manifest' | 'fileList'>,
  sizes: ReadonlyMap<string, number>,
): readonly string[] {
  return [...parts, manifest, fileList]
    .filter(({ name, storedSize }) => sizes.get(name) !== storedSize)
    .map(({ name }) => name);
}

/** What all copies of a backup lack, by the names without suffixes: a restore reads each object from a copy that has it. */
export function lackedByAll(lists: readonly (readonly string[])[]): readonly string[] {
  const [first = [], ...more] = lists.map((names) => names.map(plainName));
  return first.filter((name) => more.every((names) => names.includes(name)));
}

/** The objects of a backup that a verification has found damaged, by their names as stored. */
export function damagedObjects(id: string, facts: readonly Fact[]): readonly string[] {
  const below = `/backups/${id}/`;
  return [...damagedKeys(facts).keys()].flatMap((key) => {
    const at = key.indexOf(below);
    return at < 0 ? [] : [key.slice(at + below.length)];
  });
}

/** What no copy of a backup has whole, as far as is known. */
export interface Lacking {
  /** Names without suffixes, those that a verification found damaged included. */
  readonly objects: readonly string[];
  /** Whether a listing alone shows it: what was found damaged may be mended by now. */
  readonly isListed: boolean;
}

/** Lists the objects of all copies of a backup. Errors: those of the repositories. */
export async function findLacking(copies: readonly BackupCopy[], options: CallOptions): Promise<Lacking> {
  const members = copies.map((copy) => ({ ...copy, name: copy.repository.name }));
  const look = async ({
    repository,
    record,
  }: BackupCopy): Promise<{ listed: readonly string[]; all: readonly string[] }> => {
    const { id, systemId } = record;
    const listed = lackingObjects(record, await repository.backups(systemId).objectSizes(id, options));
    const facts = await readableFacts(repository, systemId, id, options);
    return { listed, all: [...listed, ...damagedObjects(id, facts)] };
  };
  const [alone] = members;
  const found =
    members.length === 1 && alone !== undefined
      ? [await look(alone)]
      : (await allAnswers(members, look, options)).map(({ value }) => value);
  return {
    objects: lackedByAll(found.map(({ all }) => all)),
    isListed: lackedByAll(found.map(({ listed }) => listed)).length > 0,
  };
}
