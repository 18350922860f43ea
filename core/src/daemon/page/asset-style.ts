/** The style sheet: quiet, one accent, light and dark by what the reader prefers, from 360 pixels on. */
import { PICTURE_STYLE } from './asset-style-pictures.ts';

const BASE = `
:root {
  color-scheme: light dark;
  --page: #f7f8f7; --sheet: #ffffff; --text: #1b2225; --quiet: #566268; --line: #dfe4e3; --soft: #eef2f1;
  --accent: #0b6b61; --accent-soft: #d9ebe8;
  --good: #17694a; --warn: #7d5200; --bad: #a8201a; --dim: #566268;
  --good-soft: #e3f2ea; --warn-soft: #fbf0d9; --bad-soft: #fbe6e4; --dim-soft: #eceff0;
  --sans: ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #101417; --sheet: #171c20; --text: #e3e8ea; --quiet: #9eabb1; --line: #2a3238; --soft: #1f262b;
    --accent: #63c7b8; --accent-soft: #17393a;
    --good: #74cfa1; --warn: #e6b566; --bad: #ff9a92; --dim: #a3afb5;
    --good-soft: #173226; --warn-soft: #362b15; --bad-soft: #3f1e1d; --dim-soft: #242b30;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; min-height: 100vh; display: flex; flex-direction: column;
  background: var(--page); color: var(--text);
  font: 15px/1.55 var(--sans); font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
a { color: var(--accent); text-underline-offset: .18em; text-decoration-thickness: 1px; }
a:hover { text-decoration-thickness: 2px; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
[hidden] { display: none !important; }
code, .mono { font-family: var(--mono); font-size: .92em; }
h1, h2, h3 { line-height: 1.25; font-weight: 600; margin: 0; letter-spacing: -.01em; }
h1 { font-size: 1.65rem; }
h2 { font-size: 1.08rem; }
h3 { font-size: .95rem; }
p, dl, ul, ol, pre { margin: 0; }
ul, ol { padding-left: 1.2rem; }
p + p { margin-top: .5rem; }
.quiet { color: var(--quiet); }
.small { font-size: .87rem; }
.number { text-align: right; white-space: nowrap; }
.nowrap { white-space: nowrap; }
.skip { position: absolute; left: -100rem; top: 0; background: var(--sheet); padding: .6rem 1rem; z-index: 3; }
.skip:focus { left: 0; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;

const FRAME = `
.frame { width: 100%; max-width: 71rem; margin: 0 auto; padding: 0 1.5rem; }
.top { border-bottom: 1px solid var(--line); background: var(--sheet); }
.top .frame { display: flex; flex-wrap: wrap; align-items: center; gap: .35rem 1.1rem; padding-top: .7rem; padding-bottom: .7rem; }
.brand { display: inline-flex; align-items: center; gap: .55rem; color: var(--text); text-decoration: none; font-weight: 650; letter-spacing: -.01em; }
.brand img { width: 1.45rem; height: 1.45rem; display: block; }
.crumb { color: var(--quiet); display: flex; gap: .7rem; align-items: center; min-width: 0; }
.crumb::before { content: "/"; color: var(--line); }
.crumb a { color: var(--text); text-decoration: none; font-weight: 550; }
.who { margin-left: auto; color: var(--quiet); font-size: .87rem; }
.tabs { background: var(--sheet); border-bottom: 1px solid var(--line); overflow-x: auto; scrollbar-width: none; }
.tabs .frame { display: flex; gap: 1.4rem; }
.tabs a { padding: .62rem 0 .56rem; color: var(--quiet); text-decoration: none; white-space: nowrap; border-bottom: 2px solid transparent; }
.tabs a:hover { color: var(--text); }
.tabs a[aria-current] { color: var(--text); font-weight: 600; border-bottom-color: var(--accent); }
main { flex: 1; outline: none; }
main.frame { padding-top: 1.9rem; padding-bottom: 3.5rem; }
main.frame { display: flex; flex-direction: column; gap: 1.6rem; }
main > * { min-width: 0; }
.stack > * + * { margin-top: 1.6rem; }
[data-live]:empty { display: none; }
time { white-space: nowrap; }
.foot { border-top: 1px solid var(--line); color: var(--quiet); font-size: .85rem; }
.foot .frame { padding-top: 1rem; padding-bottom: 1.4rem; display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; }
.head { display: flex; flex-wrap: wrap; gap: .6rem .9rem; align-items: center; }
.truth { font-size: 1.06rem; max-width: 62rem; margin-top: .8rem; }
.truth strong { font-weight: 600; }
.sheet { background: var(--sheet); border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem 1.4rem 1.35rem; }
.sheet > h2 + *, .sheet > .bar + * { margin-top: .95rem; }
.sheet > * + * { margin-top: .95rem; }
.bar { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: .4rem 1.2rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 1.6rem; align-items: start; }
.columns > * + * { margin-top: 0; }
.banner { border: 1px solid var(--line); border-left: 4px solid var(--dim); background: var(--dim-soft); border-radius: 6px; padding: .7rem 1rem; }
.banner.bad { border-left-color: var(--bad); background: var(--bad-soft); }
.banner.warn { border-left-color: var(--warn); background: var(--warn-soft); }
.banner ul, .reasons { margin: .35rem 0 0; padding-left: 1.15rem; }
.banner + .banner { margin-top: .7rem; }
.reasons { margin-top: .6rem; color: var(--text); }
.empty { color: var(--quiet); }
.evidence { display: block; color: var(--quiet); font-size: .93rem; margin-top: .35rem; }
.fields .whole { flex: 1 1 100%; }
.begin { display: flex; flex-wrap: wrap; gap: 1.1rem 2.6rem; align-items: flex-end; }
.begin > * + * { margin-top: 0; }
`;

const PARTS = `
.badge { display: inline-flex; align-items: center; gap: .38rem; padding: .08rem .62rem .1rem .5rem; border-radius: 99px; font-size: .84rem; font-weight: 600; white-space: nowrap; border: 1px solid transparent; }
.badge svg { width: .82rem; height: .82rem; flex: none; fill: none; stroke: currentColor; stroke-width: 2.4; stroke-linecap: round; stroke-linejoin: round; }
.badge.good { color: var(--good); background: var(--good-soft); }
.badge.warn { color: var(--warn); background: var(--warn-soft); }
.badge.bad { color: var(--bad); background: var(--bad-soft); }
.badge.dim { color: var(--dim); background: var(--dim-soft); border: 1px dashed currentColor; }
.badge.plain { color: var(--accent); background: var(--accent-soft); }
.facts { display: grid; grid-template-columns: minmax(6.2rem, max-content) 1fr; gap: .42rem 1.3rem; }
.fact { display: contents; }
.facts dt { color: var(--quiet); }
.facts dd { margin: 0; min-width: 0; }
.table { width: 100%; border-collapse: collapse; font-size: .92rem; }
.table caption { text-align: left; color: var(--quiet); padding-bottom: .5rem; }
.table th { text-align: left; white-space: nowrap; overflow-wrap: normal; font-weight: 500; color: var(--quiet); font-size: .84rem; padding: .3rem .9rem .45rem 0; border-bottom: 1px solid var(--line); vertical-align: bottom; }
.table td { padding: .58rem .9rem .58rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.table tr:last-child > td { border-bottom: 0; padding-bottom: 0; }
.table th.number { text-align: right; }
.table .number + .text { padding-left: .6rem; }
.table .id { white-space: nowrap; }
.table th:last-child, .table td:last-child { padding-right: 0; }
.table .under { display: block; color: var(--quiet); font-size: .9em; }
.zoom, .pages { display: flex; flex-wrap: wrap; gap: .25rem; list-style: none; margin: 0; padding: 0; }
.zoom a, .pages a, .pages span { display: block; padding: .16rem .62rem; border-radius: 6px; text-decoration: none; font-size: .88rem; color: var(--quiet); border: 1px solid transparent; }
.zoom a:hover, .pages a:hover { color: var(--text); background: var(--soft); }
.zoom a[aria-current] { color: var(--accent); background: var(--accent-soft); font-weight: 600; }
.pages { align-items: center; gap: .6rem; margin-top: 1rem; }
.pages a { border-color: var(--line); }
form { margin: 0; }
.fields { display: flex; flex-wrap: wrap; gap: .8rem 1rem; align-items: flex-end; }
label { display: block; font-size: .87rem; color: var(--quiet); }
input, select, button { font: inherit; color: inherit; }
input, select { display: block; margin-top: .2rem; padding: .38rem .6rem; min-height: 2.35rem; background: var(--page); color: var(--text); border: 1px solid #7f8c91; border-radius: 6px; max-width: 100%; }
input.moment-input { width: 19rem; font-family: var(--mono); font-size: .92rem; }
button, .button { padding: .38rem 1rem; min-height: 2.35rem; border-radius: 6px; border: 1px solid var(--accent); background: var(--sheet); color: var(--accent); font-weight: 550; cursor: pointer; text-decoration: none; display: inline-block; }
button:hover, .button:hover { background: var(--accent-soft); }
button.first { background: var(--accent); color: var(--sheet); }
button.first:hover { filter: brightness(1.12); }
button.plain { border: 0; min-height: 0; padding: 0; background: none; font-weight: 400; font-size: .87rem; text-decoration: underline; text-underline-offset: .18em; }
button.danger { border-color: var(--bad); color: var(--bad); }
button.danger:hover { background: var(--bad-soft); }
.command { display: flex; gap: .6rem; align-items: flex-start; background: var(--soft); border-radius: 8px; padding: .6rem .7rem .6rem .9rem; }
.command code { flex: 1; min-width: 0; white-space: pre-wrap; padding-top: .2rem; }
.command button { min-height: 1.9rem; padding: .12rem .7rem; font-size: .86rem; flex: none; }
.card h2 { font-size: 1.2rem; }
.card h2 a { color: var(--text); text-decoration: none; }
.card h2 a:hover { text-decoration: underline; }
.card .facts { margin-top: 1rem; }
progress { width: 100%; max-width: 16rem; height: .5rem; accent-color: var(--accent); }
details > summary { cursor: pointer; color: var(--quiet); }
details[open] > summary { margin-bottom: .7rem; }
.log { list-style: none; padding: .8rem 1rem; background: var(--soft); border-radius: 8px; font-family: var(--mono); font-size: .86rem; }
.log li { padding: .1rem 0; display: flex; gap: .9rem; }
.log time { color: var(--quiet); flex: none; }
.log .error { color: var(--bad); }
.log .warn { color: var(--warn); }
.log b { font-weight: 600; }
.plan { white-space: pre-wrap; font-family: var(--mono); font-size: .87rem; line-height: 1.5; }
main.login { flex: none; }
.login { max-width: 25rem; margin: 12vh auto 0; padding: 0 1.25rem; width: 100%; }
.login .sheet { padding: 1.7rem 1.8rem 1.9rem; }
.login input { width: 100%; }
.login .brand { font-size: 1.25rem; margin-bottom: 1.2rem; }
`;

const NARROW = `
@media (max-width: 46rem) {
  .frame { padding-left: 1rem; padding-right: 1rem; }
  .sheet { padding: 1rem 1rem 1.1rem; }
  main.frame { padding-top: 1.3rem; padding-bottom: 2.5rem; }
  h1 { font-size: 1.4rem; }
  .who { margin-left: 0; width: 100%; }
  .facts { grid-template-columns: 1fr; gap: 0; }
  .facts dd { margin-bottom: .65rem; }
  .table, .table tbody, .table tr, .table td { display: block; width: 100%; }
  .table thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .table tr { padding: .7rem 0; border-bottom: 1px solid var(--line); }
  .table tr:last-child { border-bottom: 0; }
  .table td, .table tr:last-child > td { border: 0; padding: .14rem 0; display: grid; grid-template-columns: 6.6rem 1fr; gap: .7rem; text-align: left; white-space: normal; }
  .table td::before { content: attr(data-title); color: var(--quiet); font-size: .87rem; }
  .table td:empty { display: none; }
  .table td > * { grid-column: 2; }
  .table .number { text-align: left; }
  .table .number + .text { padding-left: 0; }
  .table th.number { text-align: left; }
  .command { flex-wrap: wrap; }
  input.moment-input { width: 100%; }
  .fields label { flex: 1 1 100%; }
  .log li { flex-wrap: wrap; gap: 0 .7rem; }
}
@media (prefers-reduced-motion: no-preference) {
  a, button, .tabs a { transition: background-color .12s, color .12s, border-color .12s; }
}
@media (forced-colors: active) {
  .badge, .banner { border: 1px solid CanvasText; }
}
@media print {
  .tabs, .zoom, button, .skip { display: none; }
}
`;

export const STYLE: string = BASE + FRAME + PARTS + PICTURE_STYLE + NARROW;
