/**
 * Values of metadata travel as HTTP headers, which take printable ASCII and lose spaces at the ends. Whatever else there is goes as
 * `%` and hexadecimal digits.
 */
export function encodeMetadata(metadata: Readonly<Record<string, string>>): Record<string, string> {
  return mapValues(metadata, (value) => value.replaceAll(/[^ -$&-~]|^ | $/gu, encodeURIComponent));
}

export function decodeMetadata(metadata: Readonly<Record<string, string>>): Record<string, string> {
  return mapValues(metadata, (value) => {
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
