import { ASSET_PATHS } from './assets.ts';
import { markup } from './markup.ts';
import { documentOf } from './shell.ts';

export interface LoginPageOptions {
  /** What was wrong with the last try. */
  readonly problem?: string;
  /** The address to go on to, which begins with `/`. */
  readonly next?: string;
}

/** Asks a browser for a token. The form posts `token` and `next` to `/login`. */
export function loginPage({ problem, next = '/' }: LoginPageOptions): string {
  return documentOf(
    'Sign in · pgark',
    markup`<body><main class="login"><div class="sheet"><div class="brand"><img src="${ASSET_PATHS.icon}" alt="" width="24" height="24">pgark</div>
<h1>Sign in</h1>
${problem !== undefined && markup`<div class="banner bad" role="alert" id="problem"><p>${problem}</p></div>`}
<form method="post" action="/login" class="stack"><input type="hidden" name="next" value="${next}">
<label>Token <input type="password" name="token" required autocomplete="current-password"${problem !== undefined && markup` aria-invalid="true" aria-describedby="problem"`}></label>
<button class="first" type="submit">Sign in</button></form>
<p class="quiet small">One of <code>daemon.tokens</code> of the config of this daemon.</p></div></main></body>`,
  );
}
