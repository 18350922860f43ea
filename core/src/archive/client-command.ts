import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { allAnswers } from '../repository/all-answers.ts';
import { curlClientCommand, pgarkClientCommand } from '../server/client-command.ts';
import { clusterPath, parseServerUrl } from '../wal-command/wal-address.ts';
import type { ChosenRepositories } from './call.ts';
import type { Workplace } from './workplace.ts';

export interface ClientCommandCall extends CallOptions, ChosenRepositories {
  /** What the other host asks with. */
  readonly client: 'curl' | 'pgark';
  /** How it reaches the server. Default: from `serve.listen` of the config. */
  readonly url?: string;
  /** The cluster that it restores, decimal text. Default: the only one in the archive. */
  readonly systemId?: string;
  /** Where it has the token. Default: `/etc/pgark/serve.token`, if the server wants one. */
  readonly tokenFile?: string;
  /** Where it has the CA of the server. Default: what it trusts anyway. */
  readonly ca?: string;
  /** Where it has its client certificate, and the key of that. */
  readonly certificate?: string;
  readonly key?: string;
}

/** See `Archive.clientCommand`. */
export async function clientCommand(at: Workplace, call: ClientCommandCall): Promise<string> {
  const { config } = at;
  const { listen, tls, token } = config.serve;
  const url = (call.url ?? `${tls === undefined ? 'http' : 'https'}://${listen}`).replace(/\/$/, '');
  if (call.url === undefined && /^(?:0\.0\.0\.0|\[::\]):/.test(listen))
    throw new ArchiveError('USAGE', `serve.listen is ${listen}, which names no host`, {
      hint: 'Say with --url how the other host reaches this one, for example https://archive:8732.',
    });
  parseServerUrl(url + clusterPath(config.cluster));
  const systemId = call.systemId ?? (await onlySystemId(at, call));
  const tokenFile = call.tokenFile ?? (token === undefined ? undefined : '/etc/pgark/serve.token');
  const make = call.client === 'curl' ? curlClientCommand : pgarkClientCommand;
  return make({
    url,
    cluster: config.cluster,
    systemId,
    ...(tokenFile !== undefined && call.certificate === undefined && { tokenFile }),
    ...(call.ca !== undefined && { ca: call.ca }),
    ...(call.certificate !== undefined && { certificate: call.certificate }),
    ...(call.key !== undefined && { key: call.key }),
  });
}

async function onlySystemId(at: Workplace, call: ClientCommandCall): Promise<string> {
  const { signal } = at;
  const { repositories } = await at.open({ repositories: call.repositories ?? [] });
  const found = await allAnswers(
    repositories,
    async (repository) => {
      await repository.open({ signal });
      return repository.systemIds({ signal });
    },
    { signal },
  );
  const known = [...new Set(found.flatMap(({ value }) => value))];
  const [only] = known;
  if (only !== undefined && known.length === 1) return only;
  throw new ArchiveError(
    'USAGE',
    `the archive holds ${known.length === 0 ? 'no WAL yet' : `several clusters: ${known.join(', ')}`}`,
    { hint: 'Name the one that is restored with --system-id.' },
  );
}
