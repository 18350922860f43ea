/** Takes secrets out of texts that are meant to be shown to others, whoever wrote the text. */
import { hideUserInfo } from '../config/hide-user-info.ts';

const HIDDEN = '[redacted]';

/** Shorter ones cannot be taken out: they are parts of every other word. */
const LEAST = 4;

/** A name whose value is one: of a key, a variable, a parameter of a URL or a flag. */
const NAMES =
  '(?:pass(?:word|wd|phrase|wort|code)?|pwd?|secret|token|credential|signature|sig|sas|api_?key|(?:access|account|private|shared|secret)_?key(?:_?id)?|identit(?:y|ies)|auth(?:orization)?|dsn)';

/** A key of a config beside which a secret may stand. */
const KEY = new RegExp(`(?<=^|[\\s{,"'#])[\\w.-]*(?:${NAMES}|keys?|url)["']?\\s*:`, 'gi');

const FLAG = new RegExp(`^--?[\\w-]*${NAMES}$`, 'i');

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/AGE-SECRET-KEY-[A-Z0-9-]+/gi, HIDDEN],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, HIDDEN],
  [/\b(Bearer|Basic) +[\w.~+/=-]{8,}/gi, `$1 ${HIDDEN}`],
  [new RegExp(`\\b([\\w-]*${NAMES})(=|%3D)(?:'[^']*'|"[^"]*"|[^\\s'"&;,)]+)`, 'gi'), `$1$2${HIDDEN}`],
  [new RegExp(`(--?[\\w-]*${NAMES}) +[^\\s-][^\\s]*`, 'gi'), `$1 ${HIDDEN}`],
  // Commands of the server may hold anything.
  [/\b((?:archive|restore)_command (?:is|=) '?\S+) [^\n]*/g, `$1 ...`],
];

/** What hides the secrets that it was told of, and what looks like one. */
export class Redactor {
  readonly #known = new Set<string>();

  /** A value that must not be shown; also as it stands in a URL or in JSON. */
  add(secret: string): void {
    for (const value of [secret, ...secret.split('\n')]) {
      const text = value.trim();
      if (text.length < LEAST) continue;
      for (const form of [text, encodeURIComponent(text), JSON.stringify(text).slice(1, -1)]) this.#known.add(form);
    }
    for (const [, password = ''] of secret.matchAll(/:\/\/[^\s/:@]*:([^\s/@]*)@/g))
      if (password !== '') this.add(password);
  }

  /** What the variables of these names hold. */
  addEnvironment(env: NodeJS.ProcessEnv): void {
    const secret = new RegExp(`${NAMES}|[a-z_]key$`, 'i');
    for (const [name, value = ''] of Object.entries(env)) {
      if (secret.test(name) && value.length >= 6 && !value.startsWith('/')) this.add(value);
    }
  }

  /**
   * What stands beside and below the keys of a config that could not be read: it is not known which of them are secrets, and messages quote
   * what they do not take.
   */
  addConfigText(text: string): void {
    const lines = text.split(/\r?\n/);
    for (const [at, line] of lines.entries()) {
      for (const { index, 0: key } of line.matchAll(KEY)) {
        const rest = line.slice(index + key.length);
        this.#addValue(rest);
        const isFirst = /^[\s#-]*["']?$/.test(line.slice(0, index));
        const isOpen = (rest.replaceAll(/[^"']/g, '').length & 1) === 1;
        for (const further of lines.slice(at + 1)) {
          if (!(isFirst && isWithin(further, index)) && !isOpen) break;
          this.#addValue(further);
          if (isOpen && /["']/.test(further)) break;
        }
      }
    }
  }

  /** The value of a key as it stands in the text, or a piece of it. */
  #addValue(text: string): void {
    if (/^\s*\{\s*["']?(?:env|file|command)\b/.test(text)) return;
    for (const [, , quoted = ''] of text.matchAll(/(["'])(.*?)\1/g)) this.add(quoted);
    this.add(text.replace(/^[\s"'-]+|["'},\s]+$/g, ''));
    // A parser quotes an alias or a tag without its sign.
    for (const word of text.split(/[\s,{}[\]"']+/)) {
      for (const form of [word, word.replace(/^[*&!|>%@`]+/, '')]) if (!/^[\w.-]+:$/.test(form)) this.add(form);
    }
  }

  text(text: string): string {
    let shown = text;
    // Messages may have changed capitals. The longest first: one may be a part of another.
    for (const secret of [...this.#known].toSorted((one, other) => other.length - one.length))
      shown = shown.replaceAll(new RegExp(secret.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'), 'gi'), HIDDEN);
    shown = hideUserInfo(shown);
    for (const [pattern, replacement] of PATTERNS) shown = shown.replaceAll(pattern, replacement);
    return shown;
  }

  /** The same for every text in a value. */
  value(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (Array.isArray(value)) {
      // A list may be the words of a command.
      const items: readonly unknown[] = value;
      return items.map((item, at) => (FLAG.test(String(items[at - 1])) ? HIDDEN : this.value(item)));
    }
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.value(item)]));
  }
}

/** Whether a line goes on with the value of a key that stands in this column: it is further in, or an item of a list. */
function isWithin(line: string, column: number): boolean {
  const indent = /^[ \t]*/.exec(line)?.[0].length ?? 0;
  return line.trim() === '' || indent > column || (indent === column && line.startsWith('-', indent));
}
