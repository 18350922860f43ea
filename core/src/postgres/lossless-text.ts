/**
 * Text from bytes of unknown encoding, and the very same bytes from the text.
 *
 * File names and labels in a PostgreSQL cluster are bytes. Those that are UTF-8 become the text one expects. Any other
 * byte becomes one of the lone surrogates U+DC80..U+DCFF (the scheme of Python's PEP 383), which no UTF-8 decodes to, so
 * two different names never become the same text. Node turns a lone surrogate in a path into a question mark: hand
 * {@link textToBytes} of such a name to `fs`, not the text.
 */
import { isUtf8 } from 'node:buffer';

/** The text of these bytes; {@link textToBytes} gives the bytes back. */
export function bytesToText(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isUtf8(buffer)) return buffer.toString('utf8');
  let text = '';
  for (let at = 0; at < buffer.byteLength;) {
    const length = sequenceLength(buffer, at);
    text += length === 0 ? String.fromCharCode(0xdc00 + (buffer[at] ?? 0)) : buffer.toString('utf8', at, at + length);
    at += Math.max(length, 1);
  }
  return text;
}

/** The bytes of a text that {@link bytesToText} gave, or of any other text as UTF-8. */
export function textToBytes(text: string): Uint8Array {
  if (!hasRawBytes(text)) return Buffer.from(text, 'utf8');
  return Buffer.concat(
    Array.from(text, (character) => {
      const code = character.codePointAt(0) ?? 0;
      return isRawByte(code) ? Buffer.of(code - 0xdc00) : Buffer.from(character, 'utf8');
    }),
  );
}

/** Whether the text stands for bytes that are not UTF-8. */
export function hasRawBytes(text: string): boolean {
  return /\p{Surrogate}/u.test(text);
}

function isRawByte(code: number): boolean {
  return code >= 0xdc80 && code <= 0xdcff;
}

/** Bytes of the UTF-8 character that begins at `at`; 0 when none does. */
function sequenceLength(buffer: Buffer, at: number): number {
  for (let length = 1; length <= 4 && at + length <= buffer.byteLength; length++) {
    if (isUtf8(buffer.subarray(at, at + length))) return length;
  }
  return 0;
}
