/** The objects of one backup, from whichever repository has them whole. */
import { ArchiveError, isArchiveError, type ErrorCode } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { BackupObject, BackupRecord } from '../repository/backup-record.ts';
import { failureOf, isObjectFault, type RepositoryFailure } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';

/** A backup in one repository. Codecs, names with their suffixes and stored sizes are its own. */
export interface BackupCopy {
  readonly repository: Repository;
  readonly record: BackupRecord;
}

/** Whether two records of one id are of the same backup. */
export function isSameBackup(one: BackupRecord, other: BackupRecord): boolean {
  const facts = ['startLsn', 'stopLsn', 'timeline', 'stopTimeline', 'files', 'dataSize'] as const;
  return facts.every((fact) => one[fact] === other[fact]) && hasSameContent(one.manifest, other.manifest);
}

function hasSameContent(one: BackupObject, other: BackupObject): boolean {
  const hashes = one.plainSha256 === undefined || other.plainSha256 === undefined;
  return one.plainSize === other.plainSize && (hashes || one.plainSha256 === other.plainSha256);
}

/** The name of an object without the suffixes of its codecs, which is the same in every repository and in the file list. */
export function plainName(name: string): string {
  return /^.*?\.(?:tar|json)(?=\.|$)/.exec(name)?.[0] ?? name.replace(/\..*$/, '');
}

/** Failures of a read that another copy may not have. */
function isCurable(code: ErrorCode): boolean {
  return code.startsWith('STORAGE_');
}

export class BackupSource {
  #copies: readonly BackupCopy[];
  readonly #warn: (text: string) => void;

  /** At least one copy, in the order in which they are read. */
  constructor(copies: readonly BackupCopy[], warn: (text: string) => void) {
    this.#copies = copies;
    this.#warn = warn;
  }

  /**
   * Lets `use` read this object, of whichever copy's record, to its end. If a copy is damaged or cannot be read, it begins anew with that of the next repository: what it
   * did before it threw must not count. A repository that failed as a whole is read last from then on.
   *
   * Errors: those of `use` that no other copy can heal; when no copy is left, what was wrong with each.
   */
  async read<Result>(
    wanted: BackupObject,
    use: (source: AsyncIterable<Uint8Array>, name: string) => Promise<Result>,
    options: CallOptions = {},
  ): Promise<Result> {
    const candidates = this.#candidates(wanted);
    const failures: RepositoryFailure[] = [];
    for (const [at, { copy, object }] of candidates.entries()) {
      const { repository, record } = copy;
      try {
        const catalog = repository.backups(record.systemId);
        return await use(catalog.readObject(record.id, object, options), object.name);
      } catch (error) {
        if (candidates.length === 1 || !isArchiveError(error)) throw error;
        if (!isObjectFault(error) && !isCurable(error.code)) throw error;
        failures.push({ repository: repository.name, error });
        if (!isObjectFault(error)) this.#readLast(copy);
        const next = candidates[at + 1];
        if (next !== undefined)
          this.#warn(
            `${object.name} of backup ${record.id} in repository ${repository.name} cannot be used (${error.message}); repository ${next.copy.repository.name} was used`,
          );
      }
    }
    const [first, ...more] = failures;
    if (first === undefined) throw new ArchiveError('INTERNAL', `no copy of the backup has ${wanted.name}`);
    throw failureOf([first, ...more]);
  }

  /** The copies that hold this very content. */
  #candidates(wanted: BackupObject): readonly { readonly copy: BackupCopy; readonly object: BackupObject }[] {
    const name = plainName(wanted.name);
    return this.#copies.flatMap((copy) => {
      const { parts, manifest, fileList } = copy.record;
      const object = [...parts, manifest, fileList].find((candidate) => plainName(candidate.name) === name);
      return object !== undefined && hasSameContent(wanted, object) ? [{ copy, object }] : [];
    });
  }

  #readLast(copy: BackupCopy): void {
    this.#copies = [...this.#copies.filter((other) => other !== copy), copy];
  }
}
