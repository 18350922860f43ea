/** What a map says in sentences. */
import type { SystemMap } from '../map/recovery-map.ts';
import { count, formatTime } from './format.ts';

/** What is known to be wrong with the content of the WAL, or is not known, beside what ends the windows. */
export function contentProblems({
  differences: { conflicts, unknown },
  unnamedDamage,
  unreadFacts,
}: Pick<SystemMap, 'differences' | 'unnamedDamage' | 'unreadFacts'>): readonly string[] {
  const [first, ...more] = conflicts;
  const others = more.length === 0 ? '' : `, and ${count(more.length, 'more file')}`;
  return [
    ...(first === undefined
      ? []
      : [`repositories ${first.repositories.join(' and ')} hold different contents of ${first.name}${others}`]),
    ...(unknown === 0
      ? []
      : [`whether the repositories hold the same is not known of up to ${count(unknown, 'segment')}`]),
    ...(unnamedDamage === 0
      ? []
      : [
          `a verification found ${count(unnamedDamage, 'more object')} of the WAL damaged than it names: windows may end earlier`,
        ]),
    ...unreadFacts.map((key) => `${key} is not as it was written: what it says is not known`),
  ];
}

/** What is known, and how: objects that were listed are there, whether they are whole only reading tells. */
export function evidenceOf({ backups, walVerified }: SystemMap): string {
  const wal =
    walVerified === undefined
      ? 'the WAL was never verified'
      : `the WAL was verified on ${formatTime(walVerified.time)} (${walVerified.level})`;
  const verified = backups.filter((one) => one.verified !== undefined).length;
  return `evidence: objects listed with their sizes, ends of windows read; ${wal}; ${verified} of ${count(backups.length, 'backup')} verified`;
}
