import { createHash } from 'node:crypto';
import type { ArchiveEvent } from '@pgark/sdk';

/**
 * The id of the run that an event belongs to, as a UUID: the same for the start and the end of one backup or drill, in whichever process they
 * arise, so that two at once do not mix up their durations. Undefined for an event that names neither.
 */
export function runId({ cluster, name, data }: ArchiveEvent): string | undefined {
  const fields = data as Readonly<Record<string, unknown>>;
  const subject = fields['id'] ?? fields['backup'];
  if (typeof subject !== 'string') return undefined;
  const kind = name.split('.')[0] ?? name;
  const bytes = createHash('sha256')
    .update(JSON.stringify([kind, cluster, subject]))
    .digest()
    .subarray(0, 16);
  // RFC 9562: version 8, whose other bits mean what its maker wants.
  bytes.writeUInt8(((bytes[6] ?? 0) & 0x0f) | 0x80, 6);
  bytes.writeUInt8(((bytes[8] ?? 0) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
