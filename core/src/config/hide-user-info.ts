/** Schemes whose user is a name that everybody may see. Elsewhere a token may stand in its place: `https://TOKEN@host`. */
const WITH_NAMES = new Set(['postgres', 'postgresql', 'sftp', 'ssh', 'smtp', 'smtps']);

/**
 * What stands before the host of a URL. A password that was not encoded may hold any sign, "/" and "@" as well: then everything up to the last
 * "@" of the word is taken for it.
 */
const USER_INFO = /\b([a-z][a-z0-9+.-]*):\/\/([^\s/?#:@]*:(?!\d{1,5}(?:[/?#]|$))[^\s"'<>]*@|[^\s/?#]*@)/gi;

/** Takes passwords, and what may be a token, out of the URLs within a text. */
export function hideUserInfo(text: string): string {
  return text
    .split(/(\s)/)
    .map((word) => {
      // Behind the last "@" is none; to look there would take the square of its length.
      const end = word.lastIndexOf('@') + 1;
      return word.slice(0, end).replaceAll(USER_INFO, shown) + word.slice(end);
    })
    .join('');
}

function shown(whole: string, scheme: string, info: string): string {
  if (!WITH_NAMES.has(scheme.toLowerCase())) return `${scheme}://[redacted]@`;
  const at = info.indexOf(':');
  return at < 0 ? whole : `${scheme}://${info.slice(0, at)}:[redacted]@`;
}
