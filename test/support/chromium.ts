/** A real browser for tests of the page. */
import { existsSync } from 'node:fs';
import axe from 'axe-core';
import { chromium, type Browser, type Page } from 'playwright-core';
import { expect } from 'vitest';
import { SCALE } from './scale.ts';

const PROGRAM = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

/** Why tests with a browser cannot run here; undefined where they can. */
export const noChromium: string | undefined = existsSync(PROGRAM) ? undefined : `there is no ${PROGRAM}`;

export async function launchChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: PROGRAM, args: ['--no-sandbox'] });
}

interface Violation {
  readonly id: string;
  readonly help: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
}

interface Appearance {
  /** Pixels: of a desktop or of a phone. */
  readonly width: 1280 | 360;
  readonly colorScheme: 'light' | 'dark';
}

/** In all of which a page must be as usable. */
const APPEARANCES: readonly Appearance[] = ([1280, 360] as const).flatMap((width) =>
  (['light', 'dark'] as const).map((colorScheme) => ({ width, colorScheme })),
);

/**
 * Looks for what keeps people from using what is shown, by the rules of axe; `where` is for the message. In those appearances, at full scale
 * in all; without any, as the page is.
 */
export async function expectAccessible(
  page: Page,
  where: string,
  appearances: readonly Appearance[] = [],
): Promise<void> {
  await page.evaluate(axe.source);
  const wanted = SCALE === 'full' ? APPEARANCES : appearances;
  if (wanted.length === 0) return expectNoViolation(page, where);
  const before = page.viewportSize();
  for (const { width, colorScheme } of wanted) {
    await page.setViewportSize({ width, height: 800 });
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await expectNoViolation(page, `${where} ${width} ${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
  if (before !== null) await page.setViewportSize(before);
}

async function expectNoViolation(page: Page, where: string): Promise<void> {
  const violations = (await page.evaluate(
    `axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations)`,
  )) as readonly Violation[];
  const told = violations.map(({ id, help, nodes }) => ({
    id,
    help,
    nodes: nodes.map(({ html, failureSummary }) => `${html}: ${failureSummary}`),
  }));
  expect(told, where).toEqual([]);
}

/** The text of what a selector finds, with one space for any. */
export async function textOf(page: Page, selector: string): Promise<string> {
  const texts = await page.locator(selector).allTextContents();
  return texts.join(' ').replaceAll(/\s+/g, ' ').trim();
}
