/** Ready-made `restore_command`s for hosts that ask a WAL server. */
import { shellCommand, shellWord } from '../restore/quoting.ts';
import { clusterPath, missingText, WAL_TYPE, walPath } from '../wal-command/wal-address.ts';

export interface ClientCommandOptions {
  /** `https://archive:8732` */
  readonly url: string;
  readonly cluster: string;
  readonly systemId: string;
  /** File on the client's host with the token. A secret stands in no command line, where other users see it. */
  readonly tokenFile?: string;
  /** File with the CA of the server. Default: those that the host trusts. */
  readonly ca?: string;
  /** Files of the client certificate. */
  readonly certificate?: string;
  readonly key?: string;
}

/** For hosts with pgark. */
export function pgarkClientCommand(options: ClientCommandOptions): string {
  const { url, cluster, systemId, tokenFile, ca, certificate, key } = options;
  const given = [
    ['--from', url + clusterPath(cluster)],
    ['--system-id', systemId],
    ['--token-file', tokenFile],
    ['--ca', ca],
    ['--certificate', certificate],
    ['--key', key],
  ].flatMap(([flag, value]) => (flag === undefined || value === undefined ? [] : [flag, value]));
  return shellCommand(['pgark', 'wal-fetch', ...given], ['%f', '%p']);
}

/** Seconds: for a connection; without a byte, somewhat more than the server takes to answer; for further tries of a recovery. */
const CONNECT = 20;
const SILENCE = 330;
const RETRY = 60;

/**
 * For hosts with nothing but `sh` and curl. curl alone does not do: `--fail` exits with 22, which PostgreSQL takes for the end of the
 * archive, as it does all of 1 to 125.
 *
 * It exits with 0 only when pgark's type and the announced length came, and the file has as many bytes and was renamed; with 1 only when the
 * server said in its own words that there is no such file; else with 255, which ends a recovery, or with 2 on a standby, which asks again.
 */
export function curlClientCommand(options: ClientCommandOptions): string {
  const { url, cluster, systemId, tokenFile, ca, certificate, key } = options;
  const word = (text: string): string => shellWord(text).replaceAll('%', '%%'); // `%` is PostgreSQL's
  const curl = [
    // `-q`: no ~/.curlrc; no proxy of the environment, no redirect: the token goes to nobody else.
    'curl -q --silent --show-error --noproxy "*"',
    ...(url.startsWith('https:') ? ['--proto =https'] : []),
    ...(tokenFile === undefined ? [] : ['--header @-']),
    ...(ca === undefined ? [] : [`--cacert ${word(ca)}`]),
    ...(certificate === undefined ? [] : [`--cert ${word(certificate)}`]),
    ...(key === undefined ? [] : [`--key ${word(key)}`]),
    `--connect-timeout ${CONNECT} --speed-limit 1 --speed-time ${SILENCE}`,
    '--output "$t.1" --write-out "%%{http_code} %%{content_type} %%{size_download}"',
    `${word(url + clusterPath(cluster) + walPath(systemId, ''))}"%f"`,
  ].join(' ');
  // printf is part of the shell: the token is in no list of processes.
  const send =
    tokenFile === undefined ? curl : `printf "Authorization: Bearer %%s" "$(cat ${word(tokenFile)})" | ${curl}`;
  const now = '$(date +%%s)';
  // A loop, because curl's own --retry leaves out what broke off in the middle.
  const attempt = [
    'rm -f "$t.1"',
    // Of a file that is not there no length can be reckoned with: sh would end with 2.
    `s=$(${send}) && test -e "$t.1" && case $s in ` +
      `"200 ${WAL_TYPE} $(($(wc -c <"$t.1")))") test -s "$t.1" && test -e "$t" && mv "$t.1" "%p" && rm -f "$t" && exit 0;; ` +
      `"404 "*) test "$(cat "$t.1")" = "${missingText(cluster, systemId, '%f')}" && rm -f "$t" "$t.1" && exit 1;; ` +
      'esac',
    // A later command has taken the place.
    'test -e "$t" || break',
    `test ${now} -lt $e || break`,
    'sleep 2',
  ];
  return [
    // As turn.ts does it: the latest command that fetches to a place has it.
    'rm -f "%p".pgark-*',
    't="%p.pgark-$$-sh"',
    ': >"$t"',
    'e=0',
    `test -e standby.signal || e=$((${now}+${RETRY}))`,
    `while :; do ${attempt.join('; ')}; done`,
    'rm -f "$t" "$t.1"',
    'test -e standby.signal && exit 2',
    'exit 255',
  ].join('; ');
}
