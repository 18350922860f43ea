/** Reads what examples/compose and examples/kubernetes deploy. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';
import { PROJECT } from '../docs/pages.ts';

const FOLDER = join(PROJECT, 'examples');

/** A service of compose.yaml, as far as the example has it. */
export interface Service {
  readonly image: string;
  readonly command: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly user?: string;
  readonly profiles?: readonly string[];
  readonly secrets?: readonly string[];
  readonly configs?: readonly { readonly source: string; readonly target: string }[];
  readonly volumes?: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly environment?: Readonly<Record<string, string>>;
  readonly build?: { readonly context: string; readonly dockerfile: string; readonly target: string };
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
}

export interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly configs: Readonly<Record<string, { readonly file: string }>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

export const readCompose = (): Compose => parse(readExample('compose/compose.yaml')) as Compose;

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly env?: readonly {
    readonly name: string;
    readonly valueFrom: { readonly secretKeyRef: { readonly name: string; readonly key: string } };
  }[];
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  readonly resources: { readonly requests: object; readonly limits: object };
  readonly securityContext: Readonly<Record<string, unknown>>;
  readonly livenessProbe?: { readonly exec: { readonly command: readonly string[] } };
  readonly readinessProbe?: { readonly exec: { readonly command: readonly string[] } };
}

export interface PodSpec {
  readonly serviceAccountName: string;
  readonly automountServiceAccountToken: boolean;
  readonly securityContext: Readonly<Record<string, unknown>>;
  readonly containers: readonly [Container, ...Container[]];
  readonly volumes: readonly {
    readonly name: string;
    readonly configMap?: { readonly name: string };
    readonly secret?: { readonly secretName: string };
    readonly emptyDir?: object;
  }[];
}

interface PodTemplate {
  readonly metadata: { readonly labels: Readonly<Record<string, string>> };
  readonly spec: PodSpec;
}

/** An object of Kubernetes; which parts it has depends on its kind. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly selector?: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly podSelector?: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly template?: PodTemplate;
    readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string } }[];
    readonly schedule?: string;
    readonly concurrencyPolicy?: string;
    readonly jobTemplate?: { readonly spec: { readonly template: PodTemplate } };
  };
}

export interface Kustomization {
  readonly resources: readonly string[];
  readonly configMapGenerator: readonly { readonly name: string; readonly files: readonly string[] }[];
  readonly images: readonly { readonly name: string; readonly newTag: string }[];
}

export const readKustomization = (): Kustomization =>
  parse(readExample('kubernetes/kustomization.yaml')) as Kustomization;

/** The objects of all files that the kustomization names. */
export function readManifests(): readonly Manifest[] {
  return readKustomization().resources.flatMap((file) =>
    parseAllDocuments(readExample(`kubernetes/${file}`)).map((document) => {
      const [error] = document.errors;
      if (error !== undefined) throw new Error(`${file}: ${error.message}`);
      return document.toJS() as Manifest;
    }),
  );
}

export const podsOf = (manifests: readonly Manifest[]): readonly (PodTemplate & { readonly of: Manifest })[] =>
  manifests.flatMap((of) => {
    const template = of.spec?.template ?? of.spec?.jobTemplate?.spec.template;
    return template === undefined ? [] : [{ ...template, of }];
  });

export function readExample(path: string): string {
  return readFileSync(join(FOLDER, path), 'utf8');
}
