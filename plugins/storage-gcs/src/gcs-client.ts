import type { Credentials } from './credentials.ts';
import { within } from './deadline.ts';
import type { Reply } from './gcs-error.ts';
import { HttpClient, type HttpCall, type OpenReply } from './http-client.ts';

export type Query = Readonly<Record<string, string | undefined>>;

export interface GcsClientOptions {
  readonly bucket: string;
  readonly endpoint: string;
  readonly userProject: string | undefined;
  /** Milliseconds without progress after which a request fails. */
  readonly limit: number;
}

/** Requests of the JSON API for one bucket, each sent once and with credentials. */
export class GcsClient {
  readonly bucket: string;
  readonly #options: GcsClientOptions;
  readonly #credentials: Credentials;
  readonly #http: HttpClient;

  constructor(options: GcsClientOptions, credentials: Credentials) {
    this.bucket = options.bucket;
    this.#options = options;
    this.#credentials = credentials;
    this.#http = new HttpClient(options.endpoint, options.limit);
  }

  /** The path of one object. A slash within the key is encoded too, so nothing in a key means anything in the path. */
  objectPath(key: string, query: Query = {}): string {
    return this.#path(`/storage/v1/b/${encodeURIComponent(this.bucket)}/o/${encodeURIComponent(key)}`, query);
  }

  objectsPath(query: Query = {}): string {
    return this.#path(`/storage/v1/b/${encodeURIComponent(this.bucket)}/o`, query);
  }

  bucketPath(query: Query): string {
    return this.#path(`/storage/v1/b/${encodeURIComponent(this.bucket)}`, query);
  }

  uploadPath(query: Query): string {
    return this.#path(`/upload/storage/v1/b/${encodeURIComponent(this.bucket)}/o`, query);
  }

  #path(path: string, query: Query): string {
    const given = Object.entries({ userProject: this.#options.userProject, ...query });
    const parameters = new URLSearchParams(given.filter((pair): pair is [string, string] => pair[1] !== undefined));
    return parameters.size === 0 ? path : `${path}?${parameters.toString()}`;
  }

  async call(call: HttpCall): Promise<Reply> {
    return this.#watched(await this.#http.call(await this.#authorized(call)));
  }

  async open(call: HttpCall): Promise<OpenReply> {
    return this.#watched(await this.#http.open(await this.#authorized(call)));
  }

  #watched<Any extends { readonly status: number }>(reply: Any): Any {
    if (reply.status === 401) this.#credentials.forget();
    return reply;
  }

  /** Fetching a token may hang like any request, so it has the same limit. */
  async #authorized(call: HttpCall): Promise<HttpCall> {
    const headers = await within(this.#credentials.headers(), call, this.#options.limit);
    return { ...call, headers: { 'user-agent': 'pgark', ...headers, ...call.headers } };
  }

  close(): void {
    this.#http.close();
  }
}
