import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { EVENT_NAMES, EVENTS } from '../../core/src/contracts/event-table.ts';
import type { ArchiveEvent } from '../../core/src/contracts/hook.ts';
import { ERRORS } from '../../core/src/contracts/errors.ts';
import { keyTree, leaves, variableOf } from '../../core/src/config/keys.ts';
import { sectionSchema } from '../../core/src/config/schema.ts';
import { referencePages } from './reference.ts';

const update = process.env['PGARK_UPDATE_DOCS'] === '1';
const pathOf = (name: string): URL => new URL(`../../docs/reference/${name}`, import.meta.url);
const page = (name: string): string => readFileSync(pathOf(name), 'utf8');

const pages = await referencePages();

describe('docs/reference', () => {
  test.each([...pages])('%s is what the code says', (name, text) => {
    if (update) writeFileSync(pathOf(name), text);
    expect(page(name), 'run the test with PGARK_UPDATE_DOCS=1 and look at the change').toBe(text);
  });

  test('every error code is documented, and every documented code exists', () => {
    const documented = [...page('errors.md').matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, code]) => code);
    expect(documented).toEqual(Object.keys(ERRORS));
    const inTable = new Set(page('exit-codes.md').match(/`[A-Z]+(?:_[A-Z]+)*`/g));
    for (const code of Object.keys(ERRORS)) expect(inTable).toContain(`\`${code}\``);
  });

  test('every event is documented with an example that has all that an event has', () => {
    const text = page('events.md');
    const examples = [...text.matchAll(/^```json\n([^]*?)```/gm)].map(
      ([, json]) => JSON.parse(json ?? '') as ArchiveEvent,
    );
    expect(examples.map(({ name }) => name)).toEqual(EVENT_NAMES);
    for (const { name, id, time, cluster, host, severity, summary, data } of examples) {
      expect({ id, time, cluster, host, severity, data }, name).not.toContain(undefined);
      expect(summary, name).toMatch(/^\S.*\S$/);
      expect(summary, name).not.toMatch(/undefined|NaN|\[object/);
      expect(text).toContain(EVENTS[name].meaning);
    }
  });

  test('every key has a description and every variable is documented', () => {
    const text = page('config.md');
    for (const { path, node } of leaves()) {
      if (['env', 'file', 'command'].some((part) => path.includes(part))) continue;
      expect(node.description || path.some((part) => typeof part === 'number'), path.join('.')).toBeTruthy();
      expect(text).toContain(`\`${variableOf(path)}\``);
    }
    for (const [key, node] of keyTree().children) expect(node.description, key).toMatch(/\.$/);
  });

  test('the examples are valid configs', () => {
    const blocks = [...page('config.md').matchAll(/```yaml\n([^]*?)```/g)].map(
      ([, text]) => parse(text ?? '') as object,
    );
    expect(blocks).toHaveLength(2);
    for (const block of blocks) {
      const sections = 'clusters' in block ? Object.values(block.clusters as object) : [block];
      for (const section of sections) expect(sectionSchema().safeParse(section).error).toBeUndefined();
    }
  });
});
