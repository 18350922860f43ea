/** The entry by which an upload in parts knows the object that it has made, whatever became of the answer. It is not the caller's. */
export const UPLOAD_MARK = 'pgark-upload';

/**
 * Values of metadata travel as HTTP headers, which take printable ASCII and lose spaces at the ends. Whatever else there is goes as
 * `%` and hexadecimal digits.
 */
export function encodeMetadata(metadata: Readonly<Record<string, string>>): Record<string, string> {
  return mapValues(metadata, (value) => value.replaceAll(/[^ -$&-~]|^ | $/gu, encodeURIComponent));
}

export function decodeMetadata(metadata: Readonly<Record<string, string>>): Record<string, string> {
  const { [UPLOAD_MARK]: _, ...own } = metadata;
  return mapValues(own, (value) => {
    try {
      return decodeURIComponent(value);
    } catch {
      return value; // written by another program, with a percent sign that means itself
    }
  });
}

function mapValues(record: Readonly<Record<string, string>>, map: (value: string) => string): Record<string, string> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]));
}
