/** Bodies of requests: small, and whole. */
import { refusal, isRefusal, type Refusal } from './refusal.ts';

/** Bytes. */
export const MOST_BYTES = 65_536;

/** The text of a body. */
async function readText(request: Request): Promise<string | Refusal> {
  const tooLarge = refusal('REQUEST_TOO_LARGE', `the body has more than ${MOST_BYTES} bytes`);
  if (Number(request.headers.get('content-length') ?? 0) > MOST_BYTES) return tooLarge;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.byteLength;
    if (size > MOST_BYTES) return tooLarge;
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks));
  } catch {
    return refusal('REQUEST_INVALID', 'the body is not UTF-8');
  }
}

/** The media type, without its parameters. */
function typeOf(request: Request): string {
  return (request.headers.get('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/** A body that is JSON, and says so: a form of another site could not. `result` is what it holds. */
export async function readJson(request: Request): Promise<{ readonly result: unknown } | Refusal> {
  if (typeOf(request) !== 'application/json') return refusal('REQUEST_TYPE', 'the body is not application/json');
  const text = await readText(request);
  if (typeof text !== 'string') return text;
  try {
    return { result: JSON.parse(text) as unknown };
  } catch {
    return refusal('REQUEST_INVALID', 'the body is not JSON');
  }
}

/** A form of the page, or a JSON object: the texts in it. */
export async function readFields(request: Request): Promise<ReadonlyMap<string, string> | Refusal> {
  if (typeOf(request) === 'application/x-www-form-urlencoded') {
    const text = await readText(request);
    return typeof text === 'string' ? new Map(new URLSearchParams(text)) : text;
  }
  const json = await readJson(request);
  if (isRefusal(json)) return json;
  const { result } = json;
  if (typeof result !== 'object' || result === null) return refusal('REQUEST_INVALID', 'the body is not an object');
  return new Map(Object.entries(result).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}
