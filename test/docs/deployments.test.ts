/** Compose file, Dockerfile and manifests hold together: what they name is there, and what runs in them is taken by pgark. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  podsOf,
  readCompose,
  readExample,
  readKustomization,
  readManifests,
  type Service,
} from '../support/deployment.ts';
import { commandLines, refusal } from './command-lines.ts';
import { PROJECT } from './pages.ts';

/** A name and a version: never what somebody may move. */
const PINNED = /^[a-z0-9./-]+:v?\d+\.\d+[\w.-]*$/;

describe('examples/compose', () => {
  const compose = readCompose();
  const services = Object.entries(compose.services);

  test.each(services)('service %s names what is there', (_, service) => {
    expect(service.image).toMatch(PINNED);
    for (const name of service.secrets ?? []) expect(Object.keys(compose.secrets)).toContain(name);
    for (const { source } of service.configs ?? []) expect(Object.keys(compose.configs)).toContain(source);
    for (const name of Object.keys(service.depends_on ?? {})) expect(Object.keys(compose.services)).toContain(name);
    for (const volume of service.volumes ?? []) {
      const [source = ''] = volume.split(':');
      if (source.startsWith('./')) expect(existsSync(inExample(source)), source).toBe(true);
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
    const made = /for name in ([\w ]+); do/.exec(readExample('compose/README.md'))?.[1]?.split(' ');
    expect(Object.values(compose.secrets).map(({ file }) => file)).toEqual(made?.map((name) => `./secrets/${name}`));
    for (const { file } of Object.values(compose.configs)) expect(existsSync(inExample(file))).toBe(true);
  });

  test('pgark takes what its services run, and they may do nothing else', () => {
    const own = services.filter(([, { image }]) => image.startsWith('pgark:'));
    expect(own.map(([name]) => name)).toEqual(['receive', 'pgark']);
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
    const lines = readExample('compose/Dockerfile').split('\n');
    const bases = lines.flatMap((line) => /^FROM (\S+) AS \w+$/.exec(line)?.slice(1) ?? []);
    expect(bases).toHaveLength(lines.filter((line) => line.startsWith('FROM')).length);
    for (const base of bases) expect(base).toMatch(PINNED);
    for (const [, from] of lines.join('\n').matchAll(/--from=(\w+)/g)) expect(targets()).toContain(from);
    for (const part of lines
      .join('\n')
      .split(/^FROM /m)
      .slice(2))
      expect(part).toMatch(/^USER (?:999:999|postgres)$/m);
    // The server that is restored is of the version of the server.
    expect(bases).toContain(compose.services['postgres']?.image);
    expect(readExample('compose/Dockerfile.dockerignore')).toContain('secrets');
  });
});

const inExample = (path: string): string => join(PROJECT, 'examples/compose', path);

function targets(): readonly string[] {
  return [...readExample('compose/Dockerfile').matchAll(/^FROM \S+ AS (\w+)$/gm)].map(([, name]) => name ?? '');
}

describe('examples/kubernetes', () => {
  const manifests = readManifests();
  const kustomization = readKustomization();
  const pods = podsOf(manifests);

  test('objects are of kinds that there are, and have names of their own', () => {
    const kinds = manifests.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`);
    expect(kinds.toSorted()).toEqual([
      'apps/v1 StatefulSet',
      'batch/v1 CronJob',
      'batch/v1 CronJob',
      'batch/v1 CronJob',
      'networking.k8s.io/v1 NetworkPolicy',
      'v1 Namespace',
      'v1 Service',
      'v1 ServiceAccount',
    ]);
    const names = manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
  });

  test.each(pods)('$of.kind $of.metadata.name may do nothing but its work', ({ spec, metadata, of }) => {
    const [container] = spec.containers;
    expect(spec.containers).toHaveLength(1);
    expect(spec).toMatchObject({
      serviceAccountName: 'pgark',
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, runAsUser: 999, fsGroup: 999, seccompProfile: { type: 'RuntimeDefault' } },
    });
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(container.resources.limits).toHaveProperty('memory');
    expect(container.image).toMatch(PINNED);
    expect(kustomization.images.map(({ name }) => name)).toContain(container.image.split(':')[0]);
    expect(refusal(container.args), of.metadata.name).toBeUndefined();
    // What is mounted is there, and what the policy says is about these pods.
    const claims = of.spec.volumeClaimTemplates?.map((claim) => claim.metadata.name) ?? [];
    const volumes = [...spec.volumes.map(({ name }) => name), ...claims];
    expect(container.volumeMounts.map(({ name }) => name).toSorted()).toEqual(volumes.toSorted());
    for (const { configMap, secret } of spec.volumes) {
      if (configMap !== undefined)
        expect(kustomization.configMapGenerator.map(({ name }) => name)).toContain(configMap.name);
      if (secret !== undefined) expect(secret.secretName).toBe('pgark');
    }
    const policy = manifests.find(({ kind }) => kind === 'NetworkPolicy');
    expect(metadata.labels).toMatchObject(policy?.spec.podSelector?.matchLabels ?? { none: '' });
    if (of.spec.selector !== undefined) expect(metadata.labels).toMatchObject(of.spec.selector.matchLabels);
  });

  test('jobs do not run beside themselves, at times of their own', () => {
    const jobs = manifests.filter(({ kind }) => kind === 'CronJob');
    const schedules = jobs.map(({ spec }) => spec.schedule ?? '');
    for (const schedule of schedules) expect(schedule).toMatch(/^(?:[\d*][\d*,/-]* ){4}[\d*][\d*,/-]*$/);
    expect(new Set(schedules).size).toBe(jobs.length);
    for (const { spec } of jobs) expect(spec.concurrencyPolicy).toBe('Forbid');
  });

  test('the keys of the secret are those that the README makes it of', () => {
    const made = [...readExample('kubernetes/README.md').matchAll(/--from-file=([\w-]+)/g)].map(([, name]) => name);
    const mounted = [...readExample('kubernetes/pgark.yaml').matchAll(/\/run\/secrets\/pgark\/([\w-]+)/g)];
    const named = pods
      .flatMap(({ spec }) => spec.containers[0].env ?? [])
      .map(({ valueFrom }) => valueFrom.secretKeyRef.key);
    expect(new Set([...mounted.map(([, name]) => name), ...named])).toEqual(new Set(made));
    for (const { files } of kustomization.configMapGenerator) {
      for (const file of files) expect(readExample(`kubernetes/${file}`)).not.toBe('');
    }
  });
});
