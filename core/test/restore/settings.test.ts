import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { RestorePlan } from '../../src/restore/plan-types.ts';
import { settingValue, shellCommand } from '../../src/restore/quoting.ts';
import { recoverySettings, withSettings } from '../../src/restore/recovery-settings.ts';
import type { RecoveryTarget } from '../../src/restore/target.ts';

/** What PostgreSQL makes of a quoted value (source: `GUC_scanstr`), then of the placeholders, as the shell gets it. */
function asPostgres(quoted: string): string {
  const inner = quoted.slice(1, -1).replaceAll("''", "'").replaceAll('\\\\', '\\');
  const places: Readonly<Record<string, string>> = { '%f': 'NAME', '%p': 'PLACE', '%%': '%' };
  return inner.replaceAll(/%[fp%]/g, (found) => places[found] ?? found);
}

test('H-37 any path reaches the program as it is, through PostgreSQL and the shell', () => {
  const word = fc
    .string({
      unit: fc.constantFrom(...Array.from(`aZ0 '"\\$\`%!*?;&|<>(){}[]~#=:.,/-ü`)),
      minLength: 1,
      maxLength: 20,
    })
    .filter((text) => !text.includes('\0'));
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 3 }), (words) => {
      const line = shellCommand(['printf', '%s\\n', ...words], ['%f', '%p']);
      const command = asPostgres(settingValue(line));
      const printed = execFileSync('/bin/sh', ['-c', command], { encoding: 'utf8' });
      expect(printed).toBe([...words, 'NAME', 'PLACE', ''].join('\n'));
    }),
    { numRuns: 40 },
  );
});

test('a line break cannot be in a setting', () => {
  expect(() => settingValue('a\nb')).toThrowError(expect.objectContaining({ code: 'USAGE' }));
});

function settingsFor(target: RecoveryTarget, more: Partial<RestorePlan> = {}): Record<string, string> {
  const plan = {
    target,
    action: 'promote',
    standby: false,
    timeline: 3,
    historyMissing: false,
    wal: { isDoubtful: false },
    ...more,
  } as RestorePlan;
  return Object.fromEntries(recoverySettings(plan, { restoreCommand: 'fetch' }));
}

const COPY = { restore_command: 'fetch', archive_mode: 'off', archive_cleanup_command: '', recovery_end_command: '' };
const ALONE = { ...COPY, synchronous_standby_names: '', recovery_target_timeline: '3' };

describe('settings', () => {
  test('each target has its own', () => {
    expect(settingsFor({ kind: 'latest' })).toEqual(ALONE);
    expect(settingsFor({ kind: 'immediate' })).toEqual({
      ...ALONE,
      recovery_target: 'immediate',
      recovery_target_action: 'promote',
    });
    expect(settingsFor({ kind: 'time', micros: 1_763_704_800_123_456n, exclusive: true })).toEqual({
      ...ALONE,
      recovery_target_time: '2025-11-21 06:00:00.123456+00',
      recovery_target_inclusive: 'false',
      recovery_target_action: 'promote',
    });
    expect(settingsFor({ kind: 'lsn', lsn: 0x1_0000_0028n, exclusive: false }, { action: 'pause' })).toEqual({
      ...ALONE,
      recovery_target_lsn: '1/28',
      recovery_target_inclusive: 'true',
      recovery_target_action: 'pause',
    });
    expect(settingsFor({ kind: 'xid', xid: 731n, exclusive: false })).toMatchObject({ recovery_target_xid: '731' });
    expect(settingsFor({ kind: 'name', name: "it's" })).toMatchObject({ recovery_target_name: "it's" });
  });

  test('a standby follows every timeline, uses no slot of another, and nobody whom it is not told of', () => {
    expect(settingsFor({ kind: 'latest' }, { standby: true })).toEqual({
      ...COPY,
      recovery_target_timeline: 'latest',
      primary_slot_name: '',
      primary_conninfo: '',
    });
  });

  test('an earlier block and foreign targets go, everything else stays', () => {
    const once = withSettings(
      [
        '# comment',
        "work_mem = '4MB'",
        "recovery_target_time = '2020-01-01'",
        "Recovery_Target = 'immediate'",
        '',
      ].join('\n'),
      [['recovery_target_xid', '5']],
    );
    expect(once.split('\n').slice(0, 4)).toEqual([
      '# comment',
      "work_mem = '4MB'",
      "# disabled by pgark restore: recovery_target_time = '2020-01-01'",
      "# disabled by pgark restore: Recovery_Target = 'immediate'",
    ]);
    expect(once).toContain("recovery_target_xid = '5'");
    const twice = withSettings(once, [['recovery_target_name', 'n']]);
    expect(twice).not.toContain('recovery_target_xid');
    expect(twice.match(/>>> pgark restore/g)).toHaveLength(1);
    expect(withSettings('', [])).toMatch(/^# >>> pgark restore/);
  });
});
