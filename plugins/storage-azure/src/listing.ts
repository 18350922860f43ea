import type { ContainerClient } from '@azure/storage-blob';
import { compareKeys, throwIfAborted, type ListOptions, type ObjectInfo } from '@pgark/sdk';
import { Watch } from './watch.ts';

/** Code units from here on may come in another order from the service than in UTF-8. */
const UNORDERED = /[\ud800-\uffff]/;
const SURROGATE = /[\ud800-\udfff]/;

/** Lists objects in the order of the bytes of their keys. */
export async function* listing(
  container: ContainerClient,
  prefix: string,
  options: ListOptions,
  timeout: number,
): AsyncGenerator<ObjectInfo, void, undefined> {
  for await (const info of inOrder(pages(container, prefix, options, timeout))) {
    throwIfAborted(options.signal, `listing ${prefix}`);
    if (options.startAfter !== undefined && compareKeys(info.key, options.startAfter) <= 0) continue;
    yield info;
  }
}

async function* pages(
  container: ContainerClient,
  prefix: string,
  options: ListOptions,
  timeout: number,
): AsyncGenerator<ObjectInfo, void, undefined> {
  const watch = new Watch({ what: `listing ${prefix}`, signal: options.signal, timeout });
  const startFrom = startFromOf(prefix, options.startAfter);
  try {
    const segments = container
      .listBlobsFlat({
        abortSignal: watch.signal,
        ...(prefix === '' ? {} : { prefix }),
        ...(startFrom === undefined ? {} : { startFrom }),
      })
      .byPage();
    for (;;) {
      const page = await watch.during(() => segments.next());
      if (page.done === true) return;
      for (const { name, properties } of page.value.segment.blobItems) {
        yield { key: name, size: properties.contentLength ?? 0, modified: properties.lastModified.getTime() };
      }
    }
  } finally {
    watch.end();
  }
}

/**
 * Where the service may begin: at or before all keys greater than `startAfter`, whichever way it sorts what lies behind U+D7FF.
 * It is only told one within the prefix, so that the two never contradict.
 */
function startFromOf(prefix: string, startAfter: string | undefined): string | undefined {
  if (startAfter?.startsWith(prefix) !== true) return undefined;
  const unordered = startAfter.search(UNORDERED);
  const start = unordered === -1 ? startAfter : startAfter.slice(0, unordered);
  return start.length > prefix.length ? start : undefined;
}

/**
 * Puts keys that come sorted by UTF-16 units, as the service may have them, into the order of UTF-8: the two differ only in
 * where characters above U+FFFF stand among those that begin with the same text. From the first such key on, all keys
 * with that beginning are therefore gathered and sorted. Other keys pass through, and the names that pgark makes are such.
 */
async function* inOrder(infos: AsyncIterable<ObjectInfo>): AsyncGenerator<ObjectInfo, void, undefined> {
  let gathered: ObjectInfo[] = [];
  let beginning = '';
  for await (const info of infos) {
    if (gathered.length > 0 && !info.key.startsWith(beginning)) {
      yield* sorted(gathered);
      gathered = [];
    }
    if (gathered.length === 0) {
      const surrogate = info.key.search(SURROGATE);
      if (surrogate === -1) {
        yield info;
        continue;
      }
      beginning = info.key.slice(0, surrogate);
    }
    gathered.push(info);
  }
  yield* sorted(gathered);
}

function sorted(infos: ObjectInfo[]): ObjectInfo[] {
  return infos.sort((left, right) => compareKeys(left.key, right.key));
}
