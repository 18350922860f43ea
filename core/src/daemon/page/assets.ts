/** What the page is drawn with: files whose address changes with their content, so that browsers keep them. */
import { createHash } from 'node:crypto';
import { Hono } from 'hono';
import { ICON } from './asset-icon.ts';
import { SCRIPT } from './asset-script.ts';
import { STYLE } from './asset-style.ts';

interface Asset {
  readonly path: string;
  readonly type: string;
  readonly content: string;
}

function asset(name: string, extension: string, type: string, content: string): Asset {
  const hash = createHash('sha256').update(content).digest('hex').slice(0, 16);
  return { path: `/assets/${name}-${hash}.${extension}`, type, content };
}

const ASSETS: Readonly<Record<'style' | 'script' | 'icon', Asset>> = {
  style: asset('page', 'css', 'text/css; charset=utf-8', STYLE),
  script: asset('page', 'js', 'text/javascript; charset=utf-8', SCRIPT),
  icon: asset('icon', 'svg', 'image/svg+xml', ICON),
};

/** Where each is. */
export const ASSET_PATHS: Readonly<Record<keyof typeof ASSETS, string>> = {
  style: ASSETS.style.path,
  script: ASSETS.script.path,
  icon: ASSETS.icon.path,
};

/** Serves `/assets/...`; open to all, as there is nothing of a cluster in it. */
export function assets(): Hono {
  const routes = new Hono();
  for (const { path, type, content } of Object.values(ASSETS))
    routes.get(path, (context) =>
      context.body(content, 200, { 'content-type': type, 'cache-control': 'public, max-age=31536000, immutable' }),
    );
  return routes;
}
