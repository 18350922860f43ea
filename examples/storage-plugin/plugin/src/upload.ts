import { createHash } from 'node:crypto';
import { checkedBody, isArchiveError, putStep, type PutOptions } from '@pgark/sdk';
import { blocksOf, type Block } from './blocks.ts';
import type { DepotAnswer, DepotClient, DepotRequest } from './depot-client.ts';
import { refusalError } from './depot-error.ts';

/** How a step of the put is run: its request may be stopped by the first, and tells the second that it has moved. */
type Run = Required<Pick<DepotRequest, 'stop' | 'moved'>>;

/**
 * Stores one object. A body of one block goes by one request. A longer one is an upload of several, which nobody sees until its last
 * request makes an object of it. Either way the depot compares the SHA-256 of all that was sent before it shows it.
 *
 * Each request may be sent again (STOR-18): bytes of an upload are written once more where they are, and the last request finds its own
 * object by the digest.
 */
export class Upload {
  readonly #client: DepotClient;
  readonly #path: string;
  readonly #what: string;
  readonly #options: PutOptions;
  readonly #key: string;
  readonly #hash = createHash('sha256');
  #id: string | undefined;
  #sent = 0;

  constructor(client: DepotClient, path: string, key: string, options: PutOptions) {
    this.#client = client;
    this.#path = path;
    this.#key = key;
    this.#what = `storing ${key}`;
    this.#options = options;
  }

  async run(body: AsyncIterable<Uint8Array>, blockSize: number): Promise<void> {
    const { size, signal } = this.#options;
    try {
      for await (const block of blocksOf(checkedBody(body, { key: this.#key, size, signal }), blockSize)) {
        for (const piece of block.pieces) this.#hash.update(piece);
        if (block.last && this.#id === undefined) return await this.#publish('', block.pieces);
        this.#id ??= await this.#begin();
        await this.#sendBlock(block, this.#id);
      }
      await this.#publish(`?upload=${this.#id}`);
    } catch (error) {
      await this.#abandon();
      throw error;
    }
  }

  #begin(): Promise<string> {
    return this.#step('begin of the upload', async (run) => {
      const answer = await this.#client.send({ ...this.#request('POST', '/uploads'), ...run });
      return textOf(await this.#accepted(answer));
    });
  }

  async #sendBlock({ pieces, byteLength }: Block, id: string): Promise<void> {
    const offset = this.#sent;
    const lost = await this.#step(`bytes from ${offset} on`, async (run) => {
      const path = `/uploads/${id}?offset=${offset}`;
      const answer = await this.#client.send({ ...this.#request('PUT', path), body: pieces, ...run });
      if (isGone(answer)) return this.#refused(answer);
      await textOf(await this.#accepted(answer));
      return undefined;
    });
    // Nothing that is left of it in memory helps: only another put does.
    if (lost !== undefined) throw lost;
    this.#sent += byteLength;
  }

  /** Makes the object visible. */
  async #publish(query: string, body?: readonly Uint8Array[]): Promise<void> {
    const digest = this.#hash.digest();
    const request: DepotRequest = {
      ...this.#request('PUT', this.#path + query),
      headers: {
        'content-digest': `sha-256=:${digest.toString('base64')}:`,
        ...(this.#options.ifAbsent ? { 'if-none-match': '*' } : {}),
      },
      body: body ?? [new Uint8Array(0)],
      commits: true,
    };
    const etag = `"${digest.toString('hex')}"`;
    let sentBefore = false;
    // Not ended by the signal of the put, once all is sent: it is asked for when the answer is there.
    const lost = await putStep(this.#options, { name: 'completion' }, async (stop, moved) => {
      const again = sentBefore;
      sentBefore = true;
      const answer = await this.#client.send({ ...request, stop, moved });
      if (answer.response.ok || (again && (await this.#isOurs(answer, etag, stop)))) {
        await textOf(answer);
        return undefined;
      }
      if (isGone(answer)) return this.#refused(answer);
      throw await this.#refused(answer);
    });
    if (lost !== undefined) throw lost;
  }

  /** Whether an earlier attempt, whose answer was lost, has made the object: the key is taken, or the upload is gone. */
  async #isOurs(answer: DepotAnswer, etag: string, stop: AbortSignal): Promise<boolean> {
    const { response } = answer;
    if (response.headers.get('depot-error') === 'exists') return response.headers.get('etag') === etag;
    if (!isGone(answer)) return false;
    const found = await this.#client.send({ ...this.#request('HEAD', this.#path), stop });
    await textOf(found);
    if (!found.response.ok && found.response.status !== 404) throw refusalError(found.response, this.#what);
    return found.response.headers.get('etag') === etag;
  }

  /** What the depot holds of an upload that failed is seen by nobody, and it forgets it within a day: so it does not matter if this fails. */
  async #abandon(): Promise<void> {
    if (this.#id === undefined) return;
    const request: DepotRequest = { what: `giving up ${this.#what}`, method: 'DELETE', path: `/uploads/${this.#id}` };
    await this.#client.send(request).then(textOf, (error: unknown) => {
      if (!isArchiveError(error)) throw error;
    });
  }

  #step<Value>(name: string, call: (run: Run) => Promise<Value>): Promise<Value> {
    const { signal } = this.#options;
    return putStep(this.#options, { name, ...(signal === undefined ? {} : { signal }) }, (stop, moved) =>
      call({ stop, moved }),
    );
  }

  #request(method: DepotRequest['method'], path: string): DepotRequest {
    return { what: this.#what, method, path, signal: this.#options.signal };
  }

  async #accepted(answer: DepotAnswer): Promise<DepotAnswer> {
    if (!answer.response.ok) throw await this.#refused(answer);
    return answer;
  }

  async #refused(answer: DepotAnswer): Promise<Error> {
    await textOf(answer);
    return refusalError(answer.response, this.#what);
  }
}

/** Whether the depot does not know the upload: it was started anew, or the upload has become an object. */
function isGone({ response }: DepotAnswer): boolean {
  return response.headers.get('depot-error') === 'no-upload';
}

async function textOf(answer: DepotAnswer): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const chunk of answer.chunks()) pieces.push(chunk);
  return Buffer.concat(pieces).toString();
}
