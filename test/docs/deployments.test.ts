/** Compose file and Dockerfile hold together: what they name is there, and what runs in them is taken by pgark. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../core/src/config/load.ts';
import { readCompose, readExample, type Service } from '../support/deployment.ts';
import { unavailable } from '../support/require.ts';
import { commandLines, refusal } from './command-lines.ts';
import { PROJECT } from './pages.ts';

/** A name and a version: never what somebody may move. */
const PINNED = /^[a-z0-9./-]+:v?\d+\.\d+[\w.-]*$/;

describe('examples/playground', () => {
  const compose = readCompose();
  const services = Object.entries(compose.services);

  test.each(services)('service %s names what is there', (_, service) => {
    expect(service.image).toMatch(PINNED);
    for (const name of service.secrets ?? []) expect(Object.keys(compose.secrets)).toContain(name);
    for (const { source } of service.configs ?? []) expect(Object.keys(compose.configs)).toContain(source);
    for (const name of Object.keys(service.depends_on ?? {})) expect(Object.keys(compose.services)).toContain(name);
    for (const volume of service.volumes ?? []) {
      const [source = ''] = volume.split(':');
      // What the metrics come with, for Prometheus and Grafana.
      if (source === '../../docs/monitoring') continue;
      if (source.startsWith('.')) expect(existsSync(inExample(source)), source).toBe(true);
      else expect(Object.keys(compose.volumes)).toContain(source);
    }
    if (service.build === undefined) return;
    expect(existsSync(join(inExample(service.build.context), service.build.dockerfile))).toBe(true);
    expect(targets()).toContain(service.build.target);
    // One image that is built is one target.
    const others = services.filter(([, other]) => other.image === service.image && other.build !== undefined);
    expect(new Set(others.map(([, { build }]) => build?.target)).size).toBe(1);
  });

  test('secrets are made by the commands of the README, and configs are there', () => {
    const made = /for name in ([\w ]+); do/.exec(readExample('playground/README.md'))?.[1]?.split(' ');
    const keys = [...readExample('playground/README.md').matchAll(/(?:-keyout|-out) (secrets\/\w+)/g)].map(
      ([, file]) => `./${file}`,
    );
    const files = Object.values(compose.secrets).map(({ file }) => file);
    expect(files.toSorted()).toEqual([...(made ?? []).map((name) => `./secrets/${name}`), ...keys].toSorted());
    for (const { file } of Object.values(compose.configs)) expect(existsSync(inExample(file))).toBe(true);
  });

  test('pgark takes what its services run, and they may do nothing else', () => {
    const own = services.filter(([name]) => ['daemon', 'pgark'].includes(name));
    expect(own.map(([, { image }]) => image)).toEqual(['pgark-server:0.1.0', 'pgark:0.1.0']);
    for (const [name, service] of own) {
      expect(refusal(service.command), name).toBeUndefined();
      expect(service).toMatchObject({
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
      } satisfies Partial<Service>);
    }
    const [restore] = commandLines(compose.services['restored']?.command.join('\n').replaceAll('$$', '$') ?? '');
    expect(restore?.slice(0, 1)).toEqual(['restore']);
    expect(refusal(['restore', '--target-time', '2 minutes ago', '/data'])).toBeUndefined();
  });

  test('the Dockerfile pins what it begins with, copies what is there, and ends without root', () => {
    const lines = readExample('docker/Dockerfile').split('\n');
    const bases = lines.flatMap((line) => /^FROM (\S+) AS \w+$/.exec(line)?.slice(1) ?? []);
    expect(bases).toHaveLength(lines.filter((line) => line.startsWith('FROM')).length);
    for (const base of bases) expect(base).toMatch(PINNED);
    for (const [, from] of lines.join('\n').matchAll(/--from=(\w+)/g)) expect(targets()).toContain(from);
    for (const part of lines
      .join('\n')
      .split(/^FROM /m)
      .slice(2))
      expect(part).toMatch(/^USER 999:999$/m);
    // What is copied out of the tree is there, and is not held back.
    const copied = lines.flatMap((line) => /^COPY (?!--from)(\S+) \S+$/.exec(line)?.slice(1) ?? []);
    expect(copied).toContain('.');
    for (const source of copied) expect(existsSync(join(PROJECT, source)), source).toBe(true);
    const [, check = ''] = /^HEALTHCHECK .*CMD \["node", "([^"]*)"\]$/m.exec(lines.join('\n')) ?? [];
    expect(lines.some((line) => line.startsWith('COPY ') && line.endsWith(` ${check}`))).toBe(true);
    // The server that is restored is of the version of the server.
    expect(bases).toContain(compose.services['postgres']?.image);
    expect(readExample('docker/Dockerfile.dockerignore')).toContain('secrets');
  });
});

describe('what stands beside the services', () => {
  const compose = readCompose();

  test('the daemon has longer to end than daemon.drain, and answers where it is asked', async () => {
    const { config } = await loadConfig({ path: 'pgark.yaml', env: {}, directory: inExample('') });
    const { stop_grace_period: grace = '', ports = [], environment } = compose.services['daemon'] ?? {};
    expect(Number(/^(\d+)m$/.exec(grace)?.[1]) * 60_000).toBeGreaterThan(config.daemon.drain + 75_000);
    const port = config.daemon.listen?.split(':').at(-1);
    expect(ports).toEqual([`127.0.0.1:${port}:${port}`]);
    expect(environment?.['HEALTH_URL']).toBe(`https://127.0.0.1:${port}/livez`);
    expect(config.schedule.map(({ do: kind }) => kind)).toContain('drill');
    // Prometheus asks it by the name of its service, with a token of a viewer.
    const { scrape_configs: scraped } = parse(readExample('playground/prometheus.yml')) as {
      readonly scrape_configs: readonly {
        readonly static_configs: readonly { readonly targets: readonly string[] }[];
      }[];
    };
    expect(scraped[0]?.static_configs[0]?.targets).toEqual([`daemon:${port}`]);
    expect(readExample('playground/README.md')).toContain('subjectAltName=DNS:daemon');
  });

  test('nothing in the folder is left over', () => {
    const named = [...Object.values(compose.configs).map(({ file }) => file), './role.sh'];
    const files = readdirSync(inExample(''), { recursive: true, encoding: 'utf8', withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => `./${join(entry.parentPath, entry.name).slice(inExample('').length)}`.replace('.//', './'));
    expect(
      files.filter((file) => !/^\.\/secrets\/|README\.md$|compose\.yaml$|\.gitignore$/.test(file)).toSorted(),
    ).toEqual(named.toSorted());
  });

  const noPromtool =
    spawnSync('promtool', ['--version']).status === 0
      ? undefined
      : unavailable('promtool', 'apt-get install prometheus');
  test.skipIf(noPromtool !== undefined)(
    `Prometheus takes its config${noPromtool === undefined ? '' : ` (${noPromtool})`}`,
    () => {
      const args = ['check', 'config', '--syntax-only', inExample('prometheus.yml')];
      const { status, stderr } = spawnSync('promtool', args, { encoding: 'utf8' });
      expect(status, stderr).toBe(0);
    },
  );
});

const inExample = (path: string): string => join(PROJECT, 'examples/playground', path);

function targets(): readonly string[] {
  return [...readExample('docker/Dockerfile').matchAll(/^FROM \S+ AS (\w+)$/gm)].map(([, name]) => name ?? '');
}
