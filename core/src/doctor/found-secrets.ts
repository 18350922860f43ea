import type { PluginSection } from '../config/config.ts';
import { isSecretReference } from '../config/secrets.ts';
import { Secret } from '../contracts/secret.ts';
import type { Redactor } from './redact.ts';
import { describeSource, type NamedSecret } from './secrets.ts';

/** Letters of a text below which it is not taken for a secret without being known for one. */
const LEAST_GUESSED = 8;

/** Secrets that were found in a config, to be read, and to be hidden everywhere. */
export class FoundSecrets {
  readonly known: NamedSecret[] = [];
  /** Sections of plugins that could not be asked which of their options are secrets. */
  readonly #unknown = new Set<string>();
  readonly #redactor: Redactor;

  constructor(redactor: Redactor) {
    this.#redactor = redactor;
  }

  cannotAsk({ path }: PluginSection): undefined {
    this.#unknown.add(path);
    return undefined;
  }

  /** Takes note of it, and gives what is shown in its place. */
  hide(secret: unknown, key: string): unknown {
    if (isSecretReference(secret)) {
      this.known.push({ key, source: secret });
      return `[from ${describeSource(secret)}]`;
    }
    const isUnknown = [...this.#unknown].some((section) => key.startsWith(`${section}.`));
    if (isUnknown || (typeof secret === 'object' && secret !== null && !(secret instanceof Secret)))
      this.#guess(secret, key);
    else this.known.push({ key, source: secret instanceof Secret ? secret : new Secret(String(secret)) });
    return '[redacted]';
  }

  /** Any text in it may be a secret, or a word that is everywhere. */
  #guess(value: unknown, key: string): void {
    if (isSecretReference(value)) this.known.push({ key, source: value });
    else if (typeof value === 'object' && value !== null)
      for (const [name, item] of Object.entries(value)) this.#guess(item, `${key}.${name}`);
    else if (typeof value === 'string' && value.length >= LEAST_GUESSED) this.#redactor.add(value);
  }
}
