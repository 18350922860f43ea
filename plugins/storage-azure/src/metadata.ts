/** Metadata as the service takes it: names are C# identifiers of which case is lost on the way, values are ASCII. */

/** In front of each name: so none begins with a digit or is that of somebody else. */
const PREFIX = 'pgark_';

/** `with-dash` becomes `pgark_with_2d_dash`. */
export function encodeMetadata(metadata: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(metadata).map(([name, value]) => [
      PREFIX + name.replaceAll(/[^a-z0-9]/gu, (character) => `_${character.codePointAt(0)?.toString(16) ?? ''}_`),
      encodeURIComponent(value),
    ]),
  );
}

/** What {@link encodeMetadata} was given; undefined when nothing of it is there. */
export function decodeMetadata(
  stored: Readonly<Record<string, string>> | undefined,
): Readonly<Record<string, string>> | undefined {
  const own = Object.entries(stored ?? {}).filter(([name]) => name.startsWith(PREFIX));
  if (own.length === 0) return undefined;
  return Object.fromEntries(
    own.map(([name, value]) => [
      name
        .slice(PREFIX.length)
        .replaceAll(/_([0-9a-f]+)_/g, (_, code: string) => String.fromCodePoint(Number.parseInt(code, 16))),
      decodeURIComponent(value),
    ]),
  );
}
