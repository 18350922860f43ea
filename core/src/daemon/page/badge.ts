/** States as a word, a shape and a colour: no one of them alone. */
import type { Level } from '../../status/judge.ts';
import { markup, type Markup } from './markup.ts';

export type Tone = 'good' | 'warn' | 'bad' | 'dim' | 'plain';

const SHAPES: Readonly<Record<Tone, Markup>> = {
  good: markup`<path d="M3 8.5l3.5 3.5L13 4.5"/>`,
  warn: markup`<path d="M8 2.5L14.5 13.5H1.5Z"/><path d="M8 7v2.6"/>`,
  bad: markup`<path d="M3.5 3.5l9 9M12.5 3.5l-9 9"/>`,
  dim: markup`<path d="M5.2 5.6a2.9 2.9 0 1 1 4 2.7c-.8.4-1.2.9-1.2 1.7M8 13.2v.1"/>`,
  plain: markup`<path d="M3 8h10"/>`,
};

export function badge(tone: Tone, text: string): Markup {
  return markup`<span class="badge ${tone}"><svg viewBox="0 0 16 16" aria-hidden="true">${SHAPES[tone]}</svg>${text}</span>`;
}

const TONES: Readonly<Record<Level, Tone>> = { ok: 'good', warning: 'warn', critical: 'bad', unknown: 'dim' };

/** What a status comes to; without one it is unknown. */
export function levelBadge(level: Level | undefined): Markup {
  return badge(TONES[level ?? 'unknown'], level ?? 'unknown');
}
