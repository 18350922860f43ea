/** The chart in examples/helm: helm takes it, what it renders holds together, and pgark takes what its pods run and read. */
import { mkdtempSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { loadConfigs } from '../../core/src/config/load.ts';
import { podsOf, readExample, type Manifest } from '../support/deployment.ts';
import { CHART, helm, helmMissing, rendered } from '../support/helm.ts';
import { refusal } from './command-lines.ts';
import { PROJECT } from './pages.ts';

const RULES = join(PROJECT, 'docs/monitoring/pgark.rules.yml');
const COPY = join(CHART, 'files/pgark.rules.yml');
const folder = mkdtempSync(join(tmpdir(), 'pgark-helm-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ofKind = (manifests: readonly Manifest[], kind: string): readonly Manifest[] =>
  manifests.filter((manifest) => manifest.kind === kind);
const one = (manifests: readonly Manifest[], kind: string): Manifest => {
  const [found, ...more] = ofKind(manifests, kind);
  if (found === undefined || more.length > 0) throw new Error(`not one ${kind}`);
  return found;
};
const contains = (
  whole: Readonly<Record<string, string>>,
  part: Readonly<Record<string, string>> = { none: '' },
): boolean => Object.entries(part).every(([key, value]) => whole[key] === value);

test.skipIf(!existsSync(RULES))('the rules of the chart are those of docs/monitoring, which no chart reaches', () => {
  if (process.env['PGARK_UPDATE_DOCS'] === '1') writeFileSync(COPY, readFileSync(RULES));
  expect(readFileSync(COPY, 'utf8'), 'run the test with PGARK_UPDATE_DOCS=1').toBe(readFileSync(RULES, 'utf8'));
});

describe.skipIf(helmMissing !== undefined)(`helm${helmMissing === undefined ? '' : ` (${helmMissing})`}`, () => {
  test.each(['small', 'full'])('lint of %s', (values) => {
    const { status, stdout } = helm('lint', CHART, '--strict', '--values', join(CHART, 'ci', `${values}.yaml`));
    expect(status, stdout).toBe(0);
    expect(stdout).not.toMatch(/WARNING|ERROR/);
  });

  test.each(['small', 'full'] as const)(
    '%s: what is named is there, and pods may do nothing but their work',
    (values) => {
      const manifests = rendered(values);
      const names = manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
      expect(new Set(names).size).toBe(names.length);
      const given = parse(readExample(`helm/pgark/ci/${values}.yaml`)) as {
        readonly secrets: { readonly existing: readonly string[] };
        readonly daemon?: { readonly tlsSecret: string };
      };
      const secrets = [
        ...ofKind(manifests, 'Secret').map(({ metadata }) => metadata.name),
        ...given.secrets.existing,
        ...(given.daemon === undefined ? [] : [given.daemon.tlsSecret]),
      ];
      const account = one(manifests, 'ServiceAccount').metadata.name;
      const policy = one(manifests, 'NetworkPolicy').spec.podSelector?.matchLabels;
      const pods = podsOf(manifests);
      expect(pods).toHaveLength(values === 'full' ? 4 : 1);
      for (const { spec, metadata, of } of pods) {
        const [container] = spec.containers;
        expect(spec).toMatchObject({
          serviceAccountName: account,
          automountServiceAccountToken: false,
          securityContext: {
            runAsNonRoot: true,
            runAsUser: 999,
            fsGroup: 999,
            seccompProfile: { type: 'RuntimeDefault' },
          },
        });
        expect(container.securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
        expect(container.resources.limits).toHaveProperty('memory');
        expect(container.image).toBe('registry.example/pgark:0.1.0');
        expect(container.command).toEqual(['pgark']);
        expect(refusal(container.args), of.metadata.name).toBeUndefined();
        const claims = of.spec.volumeClaimTemplates?.map((claim) => claim.metadata.name) ?? [];
        const volumes = [...spec.volumes.map(({ name }) => name), ...claims];
        expect(container.volumeMounts.map(({ name }) => name).toSorted()).toEqual(volumes.toSorted());
        const named = spec.volumes.flatMap(({ secret, projected }) => [
          ...(secret === undefined ? [] : [secret.secretName]),
          ...(projected?.sources.map((source) => source.secret.name) ?? []),
        ]);
        const variables = (container.env ?? []).flatMap(({ valueFrom }) => valueFrom?.secretKeyRef.name ?? []);
        for (const name of [...named, ...variables]) expect(secrets).toContain(name);
        expect(contains(metadata.labels, policy), of.metadata.name).toBe(true);
        if (of.spec.selector !== undefined) expect(contains(metadata.labels, of.spec.selector.matchLabels)).toBe(true);
      }
    },
  );

  test.each(['small', 'full'] as const)(
    '%s: the config is one, without a secret in it, and agrees with pod and probes',
    async (values) => {
      const manifests = rendered(values);
      const text = one(manifests, 'Secret').stringData?.['pgark.yaml'] ?? '';
      const path = join(folder, `${values}.yaml`);
      writeFileSync(path, text);
      const loaded = await loadConfigs({ path, env: { S3_ACCESS_KEY_ID: 'x' }, directory: folder });
      const [{ config, settings } = { config: undefined, settings: [] }] = loaded;
      // Its secrets are files, and the address of the server holds no password.
      expect(settings.find(({ path: key }) => key === 'postgres.password')?.value).toHaveProperty('file');
      expect(text).not.toMatch(/:\/\/[^/@:]*:[^/@]*@/);
      for (const { config: each } of loaded) expect(each.receive.spool).toBe('/var/lib/pgark/spool');

      const set = one(manifests, 'StatefulSet');
      const service = one(manifests, 'Service');
      expect(set.spec.serviceName).toBe(service.metadata.name);
      const [{ spec }] = podsOf([set]) as [ReturnType<typeof podsOf>[number]];
      const [container] = spec.containers;
      expect(spec.terminationGracePeriodSeconds).toBeGreaterThan((config?.daemon.drain ?? Infinity) / 1000 + 75);
      const [port] = container.ports ?? [];
      expect(config?.daemon.listen).toBe(`${values === 'full' ? '0.0.0.0' : '127.0.0.1'}:${port?.containerPort}`);
      expect(service.spec.ports).toEqual([
        expect.objectContaining({ port: port?.containerPort, targetPort: port?.name }),
      ]);
      const paths = [container.livenessProbe, container.startupProbe, container.readinessProbe].map((probe) =>
        values === 'full'
          ? probe?.httpGet?.path
          : probe?.exec?.command[1]?.replace(/^HEALTH_URL=http:\/\/127\.0\.0\.1:\d+/, ''),
      );
      expect(paths).toEqual(['/livez', '/livez', '/readyz']);
      for (const probe of [container.livenessProbe, container.readinessProbe])
        expect(probe?.httpGet).toEqual(
          values === 'full' ? expect.objectContaining({ port: port?.name, scheme: 'HTTPS' }) : undefined,
        );
      const mounts = container.volumeMounts.map(({ mountPath }) => mountPath);
      const files = [...text.matchAll(/\/(?:run\/secrets|var\/lib|etc)\/[\w./-]+/g)].map(([file]) => file);
      expect(files.length).toBeGreaterThan(4);
      for (const file of files)
        expect(
          mounts.some((mount) => file.startsWith(`${mount}/`)),
          file,
        ).toBe(true);
    },
  );

  test.each([
    ['of the chart', []],
    ['that is long', ['daemon.drain=900']],
    ['of a config that the chart does not see', ['existingConfigSecret=mine', 'daemon.drain=300']],
  ] as const)('a deadline %s ends before the pod is ended by force', async (_, set) => {
    const manifests = rendered('small', ...set.flatMap((value) => ['--set', value]));
    const [{ spec }] = podsOf([one(manifests, 'StatefulSet')]) as [ReturnType<typeof podsOf>[number]];
    const own = manifests.find(({ kind }) => kind === 'Secret')?.stringData?.['pgark.yaml'];
    const path = join(folder, 'drain.yaml');
    const unseen = 'repositories: [{ storage: { use: fs, path: /a } }]\ndaemon: { drain: 1h }\n';
    writeFileSync(path, own ?? unseen);
    expect(own === undefined).toBe(set.length === 2);
    const variables = (spec.containers[0].env ?? []).map(({ name, value = 'x' }) => [name, value] as const);
    const [loaded] = await loadConfigs({ path, env: Object.fromEntries(variables), directory: folder });
    const drain = (loaded?.config.daemon.drain ?? Infinity) / 1000;
    expect(drain).toBe(Number(/\d+$/.exec(set.at(-1) ?? '60')?.[0]));
    // What is to be done beside shipping may take a minute or somewhat more.
    expect(spec.terminationGracePeriodSeconds).toBeGreaterThan(drain + 75);
  });

  test('the keys of the secret are those that the README makes it of', () => {
    const made = [...readExample('helm/README.md').matchAll(/--from-file=([\w-]+)/g)].map(([, name]) => name);
    const values = readExample('helm/pgark/ci/small.yaml');
    const named = [...values.matchAll(/\/run\/secrets\/pgark\/([\w-]+)|key: ([\w-]+)/g)].map(
      ([, file, key]) => file ?? key,
    );
    expect(new Set(named)).toEqual(new Set(made));
  });

  test('what watches over it names what is there', () => {
    const manifests = rendered('full');
    const service = one(manifests, 'Service');
    const monitor = one(manifests, 'ServiceMonitor');
    expect(contains(service.metadata.labels, monitor.spec.selector?.matchLabels)).toBe(true);
    expect(monitor.spec.endpoints).toEqual([
      expect.objectContaining({
        port: service.spec.ports?.[0]?.name,
        scheme: 'https',
        authorization: { credentials: { name: 'pgark', key: 'viewer-token' } },
      }),
    ]);
    expect(one(manifests, 'NetworkPolicy').spec.ingress).toHaveLength(1);
    expect(one(rendered('small'), 'NetworkPolicy').spec.ingress).toEqual([]);
    const { groups } = parse(readFileSync(COPY, 'utf8')) as NonNullable<Manifest>['spec'];
    expect(one(manifests, 'PrometheusRule').spec.groups).toEqual(groups);
  });

  test('jobs do not run beside themselves, at times of their own', () => {
    const jobs = ofKind(rendered('full'), 'CronJob');
    expect(jobs).toHaveLength(3);
    expect(new Set(jobs.map(({ spec }) => spec.schedule)).size).toBe(3);
    for (const { spec } of jobs) expect(spec.concurrencyPolicy).toBe('Forbid');
  });

  test('another config is another pod', () => {
    const sumOf = (...more: readonly string[]): string | undefined =>
      podsOf(rendered('small', ...more))[0]?.metadata.annotations?.['checksum/config'];
    expect(sumOf()).toMatch(/^[0-9a-f]{64}$/);
    expect(sumOf('--set', 'config.retention.keep=4')).not.toBe(sumOf());
  });

  test.each([
    [['config.postgres.password=hunter2'], 'password'],
    [['config.postgres.url=postgres://u:hunter2@h/'], 'url'],
    [['env[0].name=A', 'env[0].valueFrom=', 'env[0].value=hunter2'], 'env'],
    [['daemon.drian=1'], 'drian'],
    [['config.daemon.listen=0.0.0.0:1'], 'daemon'],
    [['serviceMonitor.enabled=true'], 'daemon.tlsSecret'],
    [['daemon.tlsSecret=x'], 'daemon.tokens'],
  ])('H-64 values that are wrong are refused: %j', (set, said) => {
    const args = set.flatMap((value) => ['--set', value]);
    const { status, stderr } = helm(
      'template',
      'backup',
      CHART,
      '--kube-version',
      '1.33.0',
      '--values',
      join(CHART, 'ci/small.yaml'),
      ...args,
    );
    expect(status).not.toBe(0);
    expect(stderr).toContain(said);
  });
});
