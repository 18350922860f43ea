/** A thread that commits one row after the other, so that nothing else holds up its clock: posts the milliseconds of each, ascending. */
import { parentPort, workerData } from 'node:worker_threads';
import pg from 'pg';

export interface CommitTimesOptions {
  readonly url: string;
  readonly count: number;
}

const { url, count } = workerData as CommitTimesOptions;
const client = new pg.Client({ connectionString: url });
await client.connect();
const times: number[] = [];
for (let done = 0; done < count; done++) {
  const begun = performance.now();
  await client.query('INSERT INTO load VALUES (1)');
  times.push(performance.now() - begun);
}
await client.end();
times.sort((one, other) => one - other);
parentPort?.postMessage(times, []);
