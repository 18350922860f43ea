/** What services that speak S3 differ in. */
export interface Provider {
  readonly endpoint: string | undefined;
  readonly region: string | undefined;
  readonly pathStyle: boolean;
  /**
   * The CRC32 headers and trailers that newer SDKs send by default are refused or stored as content by some services
   * (H-55), so only AWS gets them unless the config says otherwise.
   */
  readonly checksums: 'crc32' | 'md5';
  /**
   * Whether PutObject and CompleteMultipartUpload both honour `If-None-Match: *`. True only where the service documents it for
   * every release in use; who knows better says so in the config (H-51).
   */
  readonly conditionalPut: boolean;
  readonly partSize: string;
  /** R2 refuses an upload whose parts differ in size. */
  readonly equalParts: boolean;
  /**
   * Where the time of a version is found: `listing` says it, as S3 defines; `ulid`: the id of the version is one, and holds it.
   */
  readonly versionTimes: 'listing' | 'ulid';
}

const OTHER: Provider = {
  endpoint: undefined,
  region: 'us-east-1',
  pathStyle: true,
  checksums: 'md5',
  conditionalPut: false,
  partSize: '8MiB',
  equalParts: false,
  versionTimes: 'listing',
};

export type ProviderName = 'aws' | 'minio' | 'ceph' | 'r2' | 'b2' | 'wasabi' | 'storj' | 'gcs' | 'versitygw' | 'other';

export const PROVIDERS: Readonly<Record<ProviderName, Provider>> = {
  aws: { ...OTHER, region: undefined, pathStyle: false, checksums: 'crc32', conditionalPut: true },
  minio: { ...OTHER, conditionalPut: true },
  // Since Tentacle also on CompleteMultipartUpload; earlier releases ignore it there.
  ceph: OTHER,
  r2: { ...OTHER, region: 'auto', conditionalPut: true, partSize: '16MiB', equalParts: true },
  b2: OTHER,
  wasabi: { ...OTHER, pathStyle: false },
  storj: OTHER,
  // Its conditions are headers of its own; the plugin for Google Cloud Storage has them.
  gcs: { ...OTHER, endpoint: 'https://storage.googleapis.com', region: 'auto' },
  // It lists an older version with the time at which it was replaced.
  versitygw: { ...OTHER, conditionalPut: true, versionTimes: 'ulid' },
  other: OTHER,
};
