/** What the pages say of commands, files, codes, keys and hazards is true. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { formatPath, keyTree, leaves, variableOf } from '../../core/src/config/keys.ts';
import { ERRORS } from '../../core/src/contracts/errors.ts';
import { commandLines, refusal, words } from './command-lines.ts';
import { PROJECT, readPages } from './pages.ts';

const pages = readPages();
const read = (path: string): string => readFileSync(join(PROJECT, path), 'utf8');

describe.each(pages)('$path', (page) => {
  test('its links lead somewhere', () => {
    const broken = page.links.filter(({ text }) => {
      if (/^[a-z]+:/.test(text)) return false;
      const [file = '', anchor] = text.split('#');
      const path = file === '' ? page.path : join(dirname(page.path), file);
      if (!existsSync(join(PROJECT, path))) return true;
      return anchor !== undefined && pages.find((other) => other.path === path)?.anchors.has(anchor) !== true;
    });
    expect(broken).toEqual([]);
  });

  test('the paths of the project in it exist', () => {
    const named = page.spans.filter(({ text }) => /^(?:core|sdk|plugins|test|examples|docs)\/[\w./-]*$/.test(text));
    expect(named.filter(({ text }) => !existsSync(join(PROJECT, text)))).toEqual([]);
  });

  test('pgark takes the command lines in it', () => {
    const refused: string[] = [];
    for (const { text, language, line } of page.blocks) {
      if (!['sh', 'ini', 'conf', 'cron'].includes(language)) continue;
      for (const args of commandLines(text)) {
        const error = refusal(args);
        if (error !== undefined) refused.push(`block of line ${line}: pgark ${args.join(' ')}: ${error.message}`);
      }
    }
    for (const { text, line } of page.spans) {
      if (!/^pgark [-a-z]/.test(text) || text.includes('...')) continue;
      const args = words(text.slice('pgark '.length));
      const error = refusal(args);
      // Within a sentence, a command may be named without its arguments.
      if (error === undefined || error.code === 'commander.missingArgument' || error.code === 'commander.help')
        continue;
      refused.push(`line ${line}: ${text}: ${error.message}`);
    }
    expect(refused).toEqual([]);
  });

  test('the error codes, keys and variables in it exist', () => {
    const families = new Set(Object.keys(ERRORS).map((code) => code.split('_')[0]));
    const sections = [...keyTree().children.keys()];
    const keys = leaves().map(({ path }) => formatPath(path).replaceAll('[0]', '[]'));
    const variables = leaves().map(({ path }) => variableOf(path));
    const unknown = page.spans.filter(({ text }) => {
      if (/^PGARK_[A-Z0-9_]+$/.test(text)) return !isVariable(text, variables);
      if (/^[A-Z]+_[A-Z_]+$/.test(text)) return families.has(text.split('_')[0]) && !(text in ERRORS);
      const section = /^([a-z]+)(?:\[\])?\.[a-zA-Z.[\]]+$/.exec(text)?.[1];
      if (section === undefined || !sections.includes(section) || /\.(?:json|log|md|ts|ya?ml)$/.test(text))
        return false;
      return (
        !keys.some((key) => key === text || [`${text}.`, `${text}[]`].some((way) => key.startsWith(way))) &&
        !isEvent(text)
      );
    });
    expect(unknown).toEqual([]);
  });
});

/** A key's variable, one of a plugin's option, one that a program is told of an event in, or one of the few others. */
function isVariable(name: string, variables: readonly string[]): boolean {
  if (name.startsWith('PGARK_EVENT_')) return read('plugins/hook-exec/src/environment.ts').includes(`${name}: `);
  if (variables.includes(name) || /^PGARK_(?:CONFIG|TEST_\w*|UPDATE_\w*)$/.test(name)) return true;
  return /^PGARK_(?:POSTGRES_URL|REPOSITORIES_\d+_(?:STORAGE|CODECS_\d+)|HOOKS_\d+)_/.test(name);
}

function isEvent(name: string): boolean {
  return read('core/src/contracts/hook.ts').includes(`'${name}':`);
}

test('the hints of the error table name commands and pages that exist', () => {
  for (const [code, { hint }] of Object.entries(ERRORS)) {
    for (const [, command = ''] of hint.matchAll(/"pgark ([^"]*)"/g)) {
      const error = refusal(words(command));
      expect(error?.code === 'commander.missingArgument' ? undefined : error, `${code}: ${hint}`).toBeUndefined();
    }
    for (const [path] of hint.matchAll(/\bdocs\/[\w/.-]*\w/g)) expect(existsSync(join(PROJECT, path)), hint).toBe(true);
  }
});

describe('hazards', () => {
  const listed = [...read('docs/explanation/hazards.md').matchAll(/^- (H-\d+) /gm)].map(([, id]) => id);

  test('each has one id', () => {
    expect(listed.length).toBeGreaterThan(50);
    expect(new Set(listed).size).toBe(listed.length);
  });

  test('those that tests name are listed', () => {
    const packages = ['core', 'sdk', ...readdirSync(join(PROJECT, 'plugins')).map((name) => `plugins/${name}`)];
    const folders = ['test', ...packages.map((name) => `${name}/test`)].filter((path) =>
      existsSync(join(PROJECT, path)),
    );
    const files = folders.flatMap((folder) =>
      readdirSync(join(PROJECT, folder), { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.test.ts'))
        .map((name) => join(folder, name)),
    );
    const named = files.flatMap((path) => [...read(path).matchAll(/\bH-\d\d\b/g)].map(([id]) => ({ path, id })));
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter(({ id }) => !listed.includes(id))).toEqual([]);
  });
});

describe('the reader of command lines', () => {
  test.each([
    ['pgark backup --label "a b" >log 2>&1 &', ['backup', '--label', 'a b']],
    [`archive_command = 'pgark wal-push "%p" "%f"'  # comment`, ['wal-push', '%p', '%f']],
    ['ExecStart=/usr/bin/pgark --config /etc/pgark.yaml receive', ['--config', '/etc/pgark.yaml', 'receive']],
    ['PGARK_LOG_LEVEL=debug pgark config explain  # why', ['config', 'explain']],
    ['cd x && pgark list 2>/dev/null', ['list']],
    ['15 1 * * *  /usr/local/bin/pgark --config x.yaml backup', ['--config', 'x.yaml', 'backup']],
  ])('%s', (line, args) => {
    expect(commandLines(line)).toEqual([args]);
  });

  test('a command line that pgark does not take is found', () => {
    expect(refusal(['backup', '--fast'])?.message).toContain('--fast');
    expect(refusal(['back'])?.message).toContain('back');
    expect(refusal(['show'])?.code).toBe('commander.missingArgument');
    expect(refusal(['wal-fetch', '--help'])).toBeUndefined();
  });
});
