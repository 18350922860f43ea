/**
 * Runs a depot: node main.ts FOLDER [PORT] [BUCKET...]
 *
 * The token that opens all buckets is read from DEPOT_TOKEN. It listens on loopback: TLS and other hosts are a proxy's business.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { Depot } from './server/depot.ts';
import { createDepotServer } from './server/http.ts';

const [folder, port = '8480', ...buckets] = process.argv.slice(2);
const token = process.env['DEPOT_TOKEN'];
if (folder === undefined || token === undefined) {
  console.error('usage: DEPOT_TOKEN=... node main.ts FOLDER [PORT] [BUCKET...]');
  process.exit(64);
}
const names = buckets.length === 0 ? ['archive'] : buckets;
const depot = new Depot({ folder, buckets: new Map(names.map((name) => [name, undefined])) });
await depot.sweep();
const server = createDepotServer(depot, new Map([[token, ['*']]]));
server.listen(Number(port), '127.0.0.1');
await once(server, 'listening');
console.log(`depot of ${names.join(', ')} at http://127.0.0.1:${(server.address() as AddressInfo).port}`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    server.close(() => depot.close());
    server.closeAllConnections();
  });
}
