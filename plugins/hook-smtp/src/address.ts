/** An address as it goes into a mail. */
export interface Address {
  /** Empty for none. */
  readonly name: string;
  readonly address: string;
}

/** Reads `a@b.example` or `Name <a@b.example>`; undefined for anything else, and for more than one. */
export function parseAddress(text: string): Address | undefined {
  const found = /^(?:"?([^"<>,;\p{Cc}]*?)"?\s*<([^<>]+)>|([^<>]+))$/u.exec(text.trim());
  const address = found?.[2] ?? found?.[3];
  // Not all that RFC 5322 allows: what is left out is a sign of a mistake in a config.
  if (address === undefined || !/^[^\s@<>()[\]\\,;:"\p{Cc}]+@[^\s@<>()\\,;"\p{Cc}]+$/u.test(address)) return undefined;
  return { name: found?.[1] ?? '', address };
}
