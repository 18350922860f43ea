/** Schemes whose user is a name that everybody may see. Elsewhere a token may stand in its place: `https://TOKEN@host`. */
const WITH_NAMES = new Set(['postgres', 'postgresql', 'sftp', 'ssh', 'smtp', 'smtps']);

/**
 * What stands before the host of a URL. A password that was not encoded may hold any sign, "/" and "@" as well: then everything up to the last
 * "@" of the word is taken for it.
 */
const USER_INFO = /\b([a-z][a-z0-9+.-]*):\/\/([^\s/?#:@]*:(?!\d{1,5}(?:[/?#]|$))[^\s"'<>]*@|[^\s/?#]*@)/gi;

/** Takes passwords, and what may be a token, out of the URLs within a text. */
export function hideUserInfo(text: string): string {
  return text.replaceAll(USER_INFO, (whole, scheme: string, info: string) => {
    if (!WITH_NAMES.has(scheme.toLowerCase())) return `${scheme}://[redacted]@`;
    const at = info.indexOf(':');
    return at < 0 ? whole : `${scheme}://${info.slice(0, at)}:[redacted]@`;
  });
}
