/** What a command prints: results on stdout, everything else on stderr. */
import { ERRORS, type ArchiveError } from '../contracts/errors.ts';
import { compactJson, jsonText } from '../documents/json-text.ts';

/** A column of a table. Numbers stand on the right. */
export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string | number | bigint | undefined;
  /** For texts that are numbers with a unit. */
  readonly align?: 'left' | 'right';
}

/** The two streams of a process, as far as they are used here. */
export interface OutputStreams {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
}

/** Milliseconds between progress lines: on a terminal, where the line is drawn again, and elsewhere. */
const REDRAW = 100;
const REPEAT = 10_000;

export class Output {
  /** Whether results are printed as JSON (`--json`). */
  readonly isJson: boolean;
  readonly #streams: OutputStreams;
  #drawn = false;
  #lastProgress = 0;

  constructor(options: { readonly json: boolean; readonly streams?: OutputStreams }) {
    this.isJson = options.json;
    this.#streams = options.streams ?? process;
  }

  /** Whether stderr is a terminal, where progress is drawn. */
  get isTerminal(): boolean {
    return this.#streams.stderr.isTTY === true;
  }

  /** One line of a result for people. */
  line(text = ''): void {
    this.#streams.stdout.write(`${text}\n`);
  }

  /** The result for programs: one JSON value. Big integers become text. */
  json(value: unknown): void {
    this.#streams.stdout.write(jsonText(value));
  }

  /** Rows under their titles, columns aligned; an undefined value is shown as `-`. */
  table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): void {
    for (const text of tableLines(rows, columns)) this.line(text);
  }

  /** A remark on stderr; not with `--json`. */
  note(text: string): void {
    if (!this.isJson) this.write(`pgark: ${text}\n`);
  }

  /**
   * How far the work is. On a terminal one line that is drawn again; elsewhere a line every ten seconds; nothing with `--json`.
   * The text is made only when it is shown.
   */
  progress(text: () => string): void {
    if (this.isJson) return;
    const now = Date.now();
    if (now - this.#lastProgress < (this.isTerminal ? REDRAW : REPEAT)) return;
    this.#lastProgress = now;
    if (!this.isTerminal) return this.write(`pgark: ${text()}\n`);
    // A terminal that does not know its width says 0.
    const columns = this.#streams.stderr.columns || 80;
    this.#streams.stderr.write(`\r\u001B[K${text().slice(0, columns - 1)}`);
    this.#drawn = true;
  }

  /** Takes the progress line away; the next progress is shown at once. */
  progressDone(): void {
    if (this.#drawn) this.#streams.stderr.write('\r\u001B[K');
    this.#drawn = false;
    this.#lastProgress = 0;
  }

  /** Writes to stderr, past a progress line that stands there. */
  write(text: string): void {
    if (this.#drawn) this.progressDone();
    this.#streams.stderr.write(text);
  }

  /** The error with which a command ends. */
  error(error: ArchiveError): void {
    this.write(errorText(error, { json: this.isJson }));
  }
}

/** An error: two lines for people, one JSON object for programs. */
export function errorText(error: ArchiveError, { json }: { readonly json: boolean }): string {
  if (!json) return `pgark: error: ${error.message}\npgark: hint: ${error.hint}\n`;
  const { code, message, hint, retriable, details } = error;
  const shown = { code, meaning: ERRORS[code].meaning, message, hint, retriable, details };
  return compactJson({ error: shown });
}

/** The lines of a table: titles, then rows. */
export function tableLines<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): readonly string[] {
  const shown = columns.map(({ title, value, align }) => {
    const values = rows.map(value);
    const cells = [title, ...values.map((cell) => (cell === undefined ? '-' : String(cell)))];
    const numeric =
      values.some((cell) => cell !== undefined) &&
      values.every((cell) => cell === undefined || typeof cell !== 'string');
    return {
      cells,
      width: Math.max(...cells.map((cell) => cell.length)),
      right: (align ?? (numeric ? 'right' : 'left')) === 'right',
    };
  });
  return Array.from({ length: rows.length + 1 }, (_, at) =>
    shown
      .map(({ cells, width, right }) => (right ? (cells[at] ?? '').padStart(width) : (cells[at] ?? '').padEnd(width)))
      .join('  ')
      .trimEnd(),
  );
}
