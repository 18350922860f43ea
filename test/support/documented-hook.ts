import { parse } from 'yaml';
import { Secret } from '@pgark/sdk';
import { mapSecrets } from '../../core/src/plugins/secret-options.ts';
import { readPage } from '../docs/pages.ts';

/** The options of a hook in the configs of a page, as the plugin gets them: with something in the place of each secret. */
export async function documentedHookOptions(
  path: string,
  use: string,
  secrets: readonly string[],
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const configs = readPage(path).blocks.filter(({ language }) => language === 'yaml');
  type Hook = Readonly<Record<string, unknown>>;
  const hooks = configs.flatMap(({ text }) => (parse(text) as { readonly hooks?: readonly Hook[] }).hooks ?? []);
  const optionsOf = (hook: Hook): Hook => Object.fromEntries(Object.entries(hook).filter(([key]) => key !== 'use'));
  return Promise.all(
    hooks
      .filter((hook) => hook['use'] === use)
      .map((hook) => mapSecrets(optionsOf(hook), secrets, { secret: () => new Secret('x') })),
  );
}
