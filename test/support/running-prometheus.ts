/** A Prometheus that scrapes one port of this machine once a second. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { freePort } from './free-port.ts';
import { later } from './later.ts';
import { PROMETHEUS } from './prometheus.ts';
import { until } from './until.ts';

export interface Alert {
  readonly state: 'pending' | 'firing';
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface RunningPrometheusOptions {
  /** Where its files lie. */
  readonly folder: string;
  /** The text of a file of rules. */
  readonly rules: string;
  /** That is scraped. */
  readonly port: number;
}

/** It ends with the test. */
export class RunningPrometheus {
  readonly #address: string;

  private constructor(address: string) {
    this.#address = address;
  }

  static async start({ folder, rules, port }: RunningPrometheusOptions): Promise<RunningPrometheus> {
    writeFileSync(join(folder, 'rules.yml'), rules);
    const config = {
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: ['rules.yml'],
      // A name by which nobody would know pgark.
      scrape_configs: [{ job_name: 'databases', static_configs: [{ targets: [`127.0.0.1:${port}`] }] }],
    };
    writeFileSync(join(folder, 'prometheus.yml'), stringify(config));
    const own = await freePort();
    const child = spawn(
      PROMETHEUS,
      [
        `--config.file=${join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder, 'tsdb')}`,
        `--web.listen-address=127.0.0.1:${own}`,
      ],
      { stdio: 'ignore' },
    );
    later(child, async () => {
      if (child.exitCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    });
    const address = `http://127.0.0.1:${own}`;
    await until('Prometheus is ready', async () => {
      if (child.exitCode !== null) throw new Error(`prometheus ended with ${child.exitCode}`);
      const answer = await fetch(`${address}/-/ready`).catch(() => undefined); // it does not listen yet
      return answer?.ok === true;
    });
    return new RunningPrometheus(address);
  }

  /** All that fire, or will when their condition lasts. */
  async alerts(): Promise<readonly Alert[]> {
    return (await this.#ask<{ readonly alerts: readonly Alert[] }>('/api/v1/alerts')).alerts;
  }

  /** The rules that could not be evaluated, each with what is wrong. */
  async broken(): Promise<readonly string[]> {
    interface Rule {
      readonly name: string;
      readonly health: string;
      readonly lastError?: string;
    }
    const { groups } = await this.#ask<{ readonly groups: readonly { readonly rules: readonly Rule[] }[] }>(
      '/api/v1/rules',
    );
    const rules = groups.flatMap((group) => group.rules);
    if (rules.length === 0) throw new Error('there are no rules');
    return rules.flatMap(({ name, health, lastError }) => (health === 'ok' ? [] : [`${name}: ${lastError ?? health}`]));
  }

  /** The values of an expression at this moment. */
  async values(expression: string): Promise<readonly number[]> {
    const path = `/api/v1/query?query=${encodeURIComponent(expression)}`;
    const { result } = await this.#ask<{ readonly result: readonly { readonly value: readonly [number, string] }[] }>(
      path,
    );
    return result.map(({ value }) => Number(value[1]));
  }

  async #ask<Data>(path: string): Promise<Data> {
    const answer = await fetch(`${this.#address}${path}`);
    return ((await answer.json()) as { readonly data: Data }).data;
  }
}
