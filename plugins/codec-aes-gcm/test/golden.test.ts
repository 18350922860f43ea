/** Objects that were written once, by the first version of the codec. They are never made anew: archives hold such objects. */
import { expect, test } from 'vitest';
import { codecOf, decode, entry, KEY, source } from './objects.ts';

const EMPTY =
  '706761726b67636d010b676f6c64656e2d323032365d6301b6cf6a715b34b0e2336547c3b3bebdd996518512567cfbd4' +
  'bff3e5fc39038c00deed4601c9acf66e9d68a20bceb19cd6880be2ed6a1dee6c4935d63f0d';

const SENTENCE =
  '706761726b67636d010b676f6c64656e2d32303236909b27737de396a3900ef6afe60eb7db3a2a539d86569470a55ee4' +
  'e607eef10697d183c193bd7bd5e2460de50fb16f2ea3d5ea0f548b8b2d88808fb1563dec61e657d7bbd3c8f0ee74e602' +
  'b84c5280f157c92c7b54b1a577e3e2eaa4cc6c277e4ef8b837c2b5';

test.each([
  ['an empty object', EMPTY, ''],
  ['a sentence', SENTENCE, 'The product is the restored database.\n'],
])('format 1: %s is read', async (_, hex, content) => {
  const codec = codecOf([entry('golden-2026', KEY)]);
  const object = Buffer.from(hex, 'hex');
  expect(String(await decode(codec, object))).toBe(content);
  expect(await codec.inspect(source(object), {})).toEqual({ keyIds: ['golden-2026'], unknown: 0, readable: true });
});
