/** Sizes and times of the options. Those of the config are pgark's own, and a plugin sees no more of pgark than `@pgark/sdk`. */

const BYTES = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, kB: 1e3, KB: 1e3, MB: 1e6, GB: 1e9 } as const;
const MILLISECONDS = { ms: 1, s: 1000, m: 60_000 } as const;

/** Bytes of a size such as `8MiB` or `100 MB`; undefined when it is none. */
export function parseSize(text: string): number | undefined {
  const [, number, unit] = /^(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB|kB|KB|MB|GB)$/.exec(text) ?? [];
  return unit === undefined ? undefined : Math.round(Number(number) * BYTES[unit as keyof typeof BYTES]);
}

/** Milliseconds of a time such as `500ms`, `10s` or `2m`; undefined when it is none. */
export function parseMilliseconds(text: string): number | undefined {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(text) ?? [];
  return unit === undefined ? undefined : Math.round(Number(number) * MILLISECONDS[unit as keyof typeof MILLISECONDS]);
}
