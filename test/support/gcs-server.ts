/** A server that speaks the JSON API of Google Cloud Storage: fake-gcs-server, objects in its memory. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.ts';
import { goServer } from './go-server.ts';
import { unavailable } from './require.ts';

const MODULE = 'github.com/fsouza/fake-gcs-server@v1.56.1';

export interface GcsServer {
  readonly port: number;
  readonly endpoint: string;
  /** `more` are further fields of the bucket, as the JSON API names them. */
  createBucket(name: string, more?: object): Promise<void>;
  stop(): Promise<void>;
}

const PROGRAM = goServer(MODULE, 'fake-gcs-server');

/** Why tests with fake-gcs-server do not run; undefined when they do. */
export const gcsMissing: string | undefined =
  PROGRAM === undefined ? unavailable('fake-gcs-server', 'install Go, which builds it') : undefined;

/** Starts it on a free port of the loopback interface. */
export async function startGcsServer(): Promise<GcsServer> {
  if (PROGRAM === undefined) throw new Error(gcsMissing);
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const endpoint = `http://${host}`;
  const options = ['-scheme', 'http', '-backend', 'memory', '-host', '127.0.0.1', '-port', String(port)];
  const server = spawn(PROGRAM, [...options, '-public-host', host, '-external-url', endpoint], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let output = '';
  server.stderr.on('data', (data: Buffer) => (output = (output + data.toString()).slice(-4000)));
  const exited = once(server, 'exit');
  for (let attempt = 0; !(await isHealthy(endpoint)); attempt++) {
    if (server.exitCode !== null || attempt === 200) throw new Error(`fake-gcs-server did not start: ${output}`);
    await sleep(50);
  }
  return {
    port,
    endpoint,
    async createBucket(name, more = {}) {
      const reply = await fetch(`${endpoint}/storage/v1/b?project=test`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ name, ...more }),
      });
      if (!reply.ok) throw new Error(`the bucket ${name} could not be made: ${await reply.text()}`);
    },
    async stop() {
      server.kill();
      await exited;
    },
  };
}

async function isHealthy(endpoint: string): Promise<boolean> {
  try {
    return (await fetch(`${endpoint}/_internal/healthcheck`)).ok;
  } catch {
    return false; // not listening yet
  }
}
