/** A real browser for tests of the page. */
import { existsSync } from 'node:fs';
import axe from 'axe-core';
import { chromium, type Browser, type Page } from 'playwright-core';
import { expect } from 'vitest';

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

/** Looks for what keeps people from using what is shown, by the rules of axe; `where` is for the message. */
export async function expectAccessible(page: Page, where: string): Promise<void> {
  await page.evaluate(axe.source);
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
