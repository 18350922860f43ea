/** Takes secrets out of texts that are meant to be shown to others, whoever wrote the text. */

const HIDDEN = '[redacted]';

/** Shorter ones cannot be taken out: they are parts of every other word. */
const LEAST = 4;

/** A name whose value is one: of a key, a variable, a parameter of a URL or a flag. */
const NAMES =
  '(?:pass(?:word|wd|phrase|wort)?|secret|token|credential|signature|sig|sas|api_?key|(?:access|account|private|shared|secret)_?key(?:_?id)?|identit(?:y|ies)|auth(?:orization)?|dsn)';

const FLAG = new RegExp(`^--?[\\w-]*${NAMES}$`, 'i');

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  // postgres://user:password@host
  [/([a-z][a-z0-9+.-]*:\/\/[^\s/:@]*):[^\s/@]*@/gi, `$1:${HIDDEN}@`],
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
   * What stands beside the keys of a config that could not be read: it is not known which of them are secrets, and messages of a parser
   * quote what they do not take.
   */
  addConfigText(text: string): void {
    const line = new RegExp(`(?:^|[\\s{,"'])[\\w.-]*(?:${NAMES}|key|keys|url)["']?\\s*:\\s*([^\\n]*)`, 'gi');
    for (const [, rest = ''] of text.matchAll(line)) {
      if (/^\{\s*["']?(?:env|file|command)\b/.test(rest)) continue;
      for (const [, , quoted = ''] of rest.matchAll(/(["'])(.*?)\1/g)) this.add(quoted);
      this.add(rest.replace(/^["']|["'},\s]+$/g, ''));
      // A parser quotes an alias or a tag without its sign.
      for (const word of rest.split(/[\s,{}[\]"']+/)) {
        for (const form of [word, word.replace(/^[*&!|>%@`]+/, '')]) if (!/^\w+:$/.test(form)) this.add(form);
      }
    }
  }

  text(text: string): string {
    let shown = text;
    // The longest first: one may be a part of another.
    for (const secret of [...this.#known].toSorted((one, other) => other.length - one.length))
      shown = shown.replaceAll(secret, HIDDEN);
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
