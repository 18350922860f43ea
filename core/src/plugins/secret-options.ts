/** Finds the secrets among the options of a plugin, by the names that its manifest gives in `secrets`. */

/** What becomes of the values that are found. `path` is that of the value: `keys[0].key`. */
export interface SecretVisitor {
  /** The value of a secret, as it stands in the config. */
  secret(value: unknown, path: string): unknown;
  /** A value above a secret that is not of the shape that the name says, so that the secret may be anywhere in it. Default: it stays. */
  misplaced?(value: unknown, path: string): unknown;
}

/**
 * The options with every secret replaced by what the visitor makes of it. A name is that of an option, or leads into it:
 * `keys[].key` is the `key` of every item of the list `keys`. What is not there is not added, and the options given are not changed.
 */
export async function mapSecrets(
  options: Readonly<Record<string, unknown>>,
  names: readonly string[],
  visitor: SecretVisitor,
): Promise<Record<string, unknown>> {
  let mapped: unknown = options;
  for (const name of names) mapped = await mapAt(mapped, name.match(/[^.[\]]+|\[\]/g) ?? [], '', visitor);
  return mapped as Record<string, unknown>;
}

async function mapAt(value: unknown, steps: readonly string[], path: string, visitor: SecretVisitor): Promise<unknown> {
  const [step, ...rest] = steps;
  if (value === undefined || value === null) return value;
  if (step === undefined) return visitor.secret(value, path);
  if (step === '[]' && Array.isArray(value)) {
    return Promise.all(value.map((item, at) => mapAt(item, rest, `${path}[${at}]`, visitor)));
  }
  if (step === '[]' || !isPlain(value)) return visitor.misplaced === undefined ? value : visitor.misplaced(value, path);
  if (!Object.hasOwn(value, step)) return value;
  return { ...value, [step]: await mapAt(value[step], rest, path === '' ? step : `${path}.${step}`, visitor) };
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
