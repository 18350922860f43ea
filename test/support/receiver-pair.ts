/** Two receivers as on two hosts: a spool, a config and a way to the server each, one slot, one repository. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestArchive } from './archive.ts';
import { serverUser } from './binaries.ts';
import { spawnCli, type CliChild } from './cli.ts';
import { giveToServer } from './postgres.ts';
import { Proxy } from './proxy.ts';
import { until } from './until.ts';

interface Line {
  readonly event: string;
  readonly state?: string;
  readonly message?: string;
}

function eventsOf(cli: CliChild): readonly Line[] {
  const whole = cli.stdout().split('\n').slice(0, -1);
  return whole.map((line) => JSON.parse(line) as Line);
}

export class PairMember {
  readonly name: string;
  readonly spool: string;
  readonly proxy: Proxy;
  readonly #config: string;
  readonly #ended: CliChild[] = [];
  #cli: CliChild | undefined;

  private constructor(name: string, spool: string, config: string, proxy: Proxy) {
    this.name = name;
    this.spool = spool;
    this.#config = config;
    this.proxy = proxy;
  }

  /** A host with a config like that of the archive, but for the spool and the way to the server. */
  static async of(
    archive: TestArchive,
    server: { readonly port: number },
    name: string,
    /** The address of the server as it is in the config, from the port of the member's proxy. */
    urlOf = (port: number): string => `postgres://postgres@127.0.0.1:${port}/postgres`,
  ): Promise<PairMember> {
    const folder = join(archive.folder, name);
    const spool = join(folder, 'spool');
    for (const made of [folder, spool]) {
      mkdirSync(made);
      giveToServer(made);
    }
    const proxy = await Proxy.listen({ port: server.port });
    const config = JSON.parse(readFileSync(archive.config, 'utf8')) as Record<string, object>;
    const path = join(folder, 'pgark.json');
    const own = {
      ...config,
      postgres: { url: urlOf(proxy.port) },
      receive: { ...config['receive'], spool },
    };
    writeFileSync(path, JSON.stringify(own));
    giveToServer(path);
    return new PairMember(name, spool, path, proxy);
  }

  start(): void {
    this.#cli = spawnCli(['--config', this.#config, '--json', 'receive'], { ...serverUser() });
  }

  get isRunning(): boolean {
    const child = this.#cli?.child;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** Events of all runs, in order. */
  get events(): readonly Line[] {
    const runs = this.#cli === undefined ? this.#ended : [...this.#ended, this.#cli];
    return runs.flatMap(eventsOf);
  }

  /** The state of the present run that was entered last. */
  get state(): string | undefined {
    const events = this.#cli === undefined ? [] : eventsOf(this.#cli);
    return events.findLast(({ event }) => event === 'wal.state')?.state;
  }

  /** How often this one took the slot over from the other. */
  get takeOvers(): number {
    return this.events.filter(({ state, message }) => state === 'streaming' && message?.startsWith('took over')).length;
  }

  get output(): string {
    const runs = this.#cli === undefined ? this.#ended : [...this.#ended, this.#cli];
    return runs.map((cli) => `--- ${this.name}\n${cli.stdout()}${cli.stderr()}`).join('\n');
  }

  async waitFor(state: string): Promise<void> {
    await until(
      `${this.name} is ${state}`,
      () => this.state === state,
      () => this.output,
    );
  }

  /** Ends the process; gives its exit code, undefined after a deadly signal. */
  async end(signal: NodeJS.Signals): Promise<number | undefined> {
    const cli = this.#cli;
    if (cli === undefined) return undefined;
    cli.kill(signal);
    const { code } = await cli.ended;
    this.#ended.push(cli);
    this.#cli = undefined;
    return code;
  }

  async destroy(): Promise<void> {
    await this.end('SIGKILL');
    await this.proxy.close();
  }
}
