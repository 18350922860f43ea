import { inspect } from 'node:util';

const BRAND = Symbol.for('pgark.Secret');

/**
 * A value that must not be printed. `String(secret)`, JSON, template strings and `util.inspect` give `[redacted]`;
 * only {@link Secret.reveal} gives the value, and should be called where it is used, not before.
 *
 * `instanceof Secret` holds for a secret of any copy of this module: a plugin may carry its own.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
    Object.defineProperty(this, BRAND, { value: true });
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[BRAND] === true;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return '[redacted]';
  }

  toJSON(): string {
    return '[redacted]';
  }
}

Object.defineProperty(Secret.prototype, inspect.custom, { value: (): string => '[redacted]' });
