import type { BackupRecord } from '../../src/repository/backup-record.ts';

/** The system of the sample, and the id of its backup. */
export const SYSTEM = '7710493345181022616';
export const ID = '20261121T064530Z-fd70';

/** A record without what is about objects. */
export const SAMPLE_FACTS: Omit<BackupRecord, 'dataSize' | 'parts' | 'manifest' | 'fileList'> = {
  format: 1,
  id: ID,
  kind: 'full',
  cluster: 'main',
  systemId: SYSTEM,
  serverVersion: 180004,
  segmentSize: 16 << 20,
  timeline: 1,
  startLsn: '0/2000028',
  stopTimeline: 1,
  stopLsn: '0/2000158',
  startTime: '2026-11-21T06:45:30Z',
  stopTime: '2026-11-21T06:45:31Z',
  nextXid: '734',
  dataChecksums: true,
  host: 'db1:5432',
  fromStandby: false,
  label: '',
  tool: '0.1.0',
  tablespaces: [],
  codecs: [],
  files: 1,
};
