/** The log on stderr: lines for people, or one JSON object per line. */
import type { LogFormat, LogLevel } from '../config/config.ts';
import { isArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: Exclude<LogFormat, 'auto'>;
  /** Whether lines for people begin with the time; a terminal needs none. */
  readonly times: boolean;
  readonly write: (text: string) => void;
}

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;

/** Makes a logger. The JSON one is pino's, loaded only when it is wanted. */
export async function createLogger(options: LogOptions): Promise<Logger> {
  if (options.format === 'pretty') return prettyLogger(options);
  const { pino, stdTimeFunctions } = await import('pino');
  const settings = {
    level: options.level,
    base: null, // no process id, no host name
    timestamp: stdTimeFunctions.isoTime,
    formatters: {
      level: (label: string) => ({ level: label }),
      log: (fields: Record<string, unknown>) =>
        Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, plain(value)])),
    },
  };
  const log = pino(settings, { write: options.write });
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
  };
}

/** Errors as data, with their code; big integers as text, because JSON readers round them. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  if (!(value instanceof Error)) return value;
  if (!isArchiveError(value)) return { message: value.message, stack: value.stack };
  return { code: value.code, message: value.message, hint: value.hint };
}

function prettyLogger({ level, times, write }: LogOptions): Logger {
  const least = LEVELS.indexOf(level);
  const at =
    (name: (typeof LEVELS)[number]) =>
    (fields: Readonly<Record<string, unknown>>, message: string): void => {
      if (LEVELS.indexOf(name) < least) return;
      const time = times ? `${new Date().toISOString()} ` : '';
      write(`${time}pgark: ${name}: ${message}${details(fields)}\n`);
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function details(fields: Readonly<Record<string, unknown>>): string {
  const shown = Object.entries(fields).filter(([, value]) => value !== undefined);
  return shown.length === 0 ? '' : ` (${shown.map(([key, value]) => `${key}=${show(value)}`).join(' ')})`;
}

function show(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(value.message);
  if (typeof value === 'string') return /^[^\s"=()]+$/.test(value) ? value : JSON.stringify(value);
  if (typeof value === 'bigint') return String(value);
  return JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? String(inner) : inner)) ?? '';
}
