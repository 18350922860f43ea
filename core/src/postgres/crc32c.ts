/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), with which PostgreSQL protects WAL records and `pg_control`.
 * Node has the IEEE polynomial only. Eight bytes a step ("slicing by 8").
 */

const TABLE = makeTables();

function makeTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = (value & 1) === 0 ? value >>> 1 : (value >>> 1) ^ 0x82f63b78;
    tables[byte] = value;
  }
  for (let index = 256; index < tables.length; index++) {
    const before = tables[index - 256] as number;
    tables[index] = (before >>> 8) ^ (tables[before & 0xff] as number);
  }
  return tables;
}

/** The register before the first byte; hand it to {@link updateCrc32c}, the result to {@link finishCrc32c}. */
export const CRC32C_START = -1;

/** Takes the bytes `from` up to, not including, `to` into the register. */
export function updateCrc32c(register: number, bytes: Uint8Array, from = 0, to: number = bytes.byteLength): number {
  const table = TABLE;
  let crc = register | 0;
  let at = from;
  for (const end = to - 7; at < end; at += 8) {
    crc ^=
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    crc =
      (table[1792 + (crc & 0xff)] as number) ^
      (table[1536 + ((crc >>> 8) & 0xff)] as number) ^
      (table[1280 + ((crc >>> 16) & 0xff)] as number) ^
      (table[1024 + (crc >>> 24)] as number) ^
      (table[768 + (bytes[at + 4] as number)] as number) ^
      (table[512 + (bytes[at + 5] as number)] as number) ^
      (table[256 + (bytes[at + 6] as number)] as number) ^
      (table[bytes[at + 7] as number] as number);
  }
  for (; at < to; at++) crc = (crc >>> 8) ^ (table[(crc ^ (bytes[at] as number)) & 0xff] as number);
  return crc;
}

/** The checksum that a register stands for, 0 to 2^32-1. */
export function finishCrc32c(register: number): number {
  return ~register >>> 0;
}

/** CRC-32C of these bytes, 0 to 2^32-1. */
export function crc32c(bytes: Uint8Array): number {
  return finishCrc32c(updateCrc32c(CRC32C_START, bytes));
}
