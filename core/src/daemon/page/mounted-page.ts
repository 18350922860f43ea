import type { Daemon } from '../daemon.ts';
import type { MountedPage } from '../http/app.ts';
import { assets } from './assets.ts';
import { loginPage } from './login-page.ts';
import { pageRoutes, type PageOptions } from './page-routes.ts';

/** The page of a daemon, for the HTTP server to mount. */
export function mountedPage(daemon: Daemon, options: PageOptions = {}): MountedPage {
  return { routes: pageRoutes(daemon, options), login: loginPage, assets: assets() };
}
