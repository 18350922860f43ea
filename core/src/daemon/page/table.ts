/** Tables that are lists of cards on a phone; their roles are written out, as styles take them away there. */
import { markup, type Child, type Markup } from './markup.ts';

export interface PageColumn<Row> {
  readonly title: string;
  readonly value: (row: Row) => Child;
  readonly isNumber?: boolean;
}

export interface TableOptions<Row> {
  /** What it is, for those who do not see where it stands. */
  readonly name: string;
  readonly columns: readonly (PageColumn<Row> | undefined)[];
  /** Instead of a table without rows. */
  readonly empty: Child;
}

export function table<Row>(rows: readonly Row[], { name, columns: given, empty }: TableOptions<Row>): Markup {
  if (rows.length === 0) return markup`<p class="empty">${empty}</p>`;
  const columns = given.filter((column) => column !== undefined);
  const kind = ({ isNumber }: PageColumn<Row>): string => (isNumber === true ? 'number' : 'text');
  return markup`<table class="table" role="table" aria-label="${name}">
<thead role="rowgroup"><tr role="row">${columns.map((column) => markup`<th role="columnheader" scope="col" class="${kind(column)}">${column.title}</th>`)}</tr></thead>
<tbody role="rowgroup">${rows.map(
    (row) =>
      markup`<tr role="row">${columns.map((column) => markup`<td role="cell" class="${kind(column)}" data-title="${column.title}"><div>${column.value(row)}</div></td>`)}</tr>`,
  )}</tbody></table>`;
}

/** Names and what there is to say of each. */
export function facts(lines: readonly (readonly [name: string, value: Child] | undefined)[]): Markup {
  return markup`<dl class="facts">${lines.map(
    (line) => line !== undefined && markup`<div class="fact"><dt>${line[0]}</dt><dd>${line[1]}</dd></div>`,
  )}</dl>`;
}

/** One page of a long list. `wanted` is what the address says. */
export interface Page<Row> {
  readonly rows: readonly Row[];
  readonly number: number;
  readonly pages: number;
  readonly total: number;
}

/** Rows of one page. */
const ROWS = 50;

export function pageOf<Row>(all: readonly Row[], wanted: string | undefined): Page<Row> {
  const pages = Math.max(1, Math.ceil(all.length / ROWS));
  const asked = /^\d{1,6}$/.test(wanted ?? '') ? Number(wanted) : 1;
  const number = Math.min(pages, Math.max(1, asked));
  return { rows: all.slice((number - 1) * ROWS, number * ROWS), number, pages, total: all.length };
}

/** Links to the pages beside one; nothing where there is only one. `address` ends with what the number is put behind. */
export function pageLinks({ number, pages, total }: Page<unknown>, address: string, name: string): Markup | undefined {
  if (pages === 1) return undefined;
  return markup`<nav aria-label="Pages of ${name}"><div class="pages">${number > 1 && markup`<a href="${address}${number - 1}" rel="prev">Newer</a>`}
<span>page ${number} of ${pages}, ${total} in all</span>${number < pages && markup`<a href="${address}${number + 1}" rel="next">Older</a>`}</div></nav>`;
}
