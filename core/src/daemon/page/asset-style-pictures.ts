/** How the drawings look. Their places are attributes; only colours and text are here. */
export const PICTURE_STYLE: string = `
.stage { position: relative; touch-action: pan-y; }
.cursor-pad:focus-visible { outline-offset: 7px; }
.picture { display: block; width: 100%; overflow: visible; }
.picture text { fill: var(--quiet); font: 12px var(--sans); font-variant-numeric: tabular-nums; }
.picture .name { fill: var(--text); font-weight: 550; }
.picture .on { fill: var(--sheet); font-size: 11px; }
.picture .axis { stroke: var(--line); stroke-width: 1; }
.picture .grid { stroke: var(--line); stroke-width: 1; stroke-dasharray: 2 4; }
.picture .bed { fill: var(--soft); }
.picture .window { fill: var(--accent); }
.picture .other { fill: var(--accent); opacity: .45; }
.picture .doubt { stroke: var(--accent); stroke-width: 1; }
.picture .hole { stroke: var(--bad); stroke-width: 1; }
.picture .now { stroke: var(--text); stroke-width: 1.5; }
.picture .now-name { fill: var(--text); font-weight: 600; }
.picture .cursor { stroke: var(--accent); stroke-width: 2; }
.picture .stem { stroke: var(--quiet); stroke-width: 1; }
.hatch-line { stroke: var(--bad); stroke-width: 2; }
.hatch-bed { fill: var(--bad-soft); }
.doubt-line { stroke: var(--accent); stroke-width: 2; }
.doubt-bed { fill: var(--accent-soft); }
.mark { stroke: var(--sheet); stroke-width: 1.2; }
.mark.good { fill: var(--text); }
.mark.bad { fill: var(--bad); }
.mark.dim { fill: var(--sheet); stroke: var(--dim); stroke-width: 1.6; }
.mark.proof { fill: var(--good); }
.mark.broken { fill: none; stroke: var(--bad); stroke-width: 2.4; }
.picture .many { fill: var(--text); font-size: 11px; font-weight: 600; }
.cursor-pad { position: absolute; inset: 0; cursor: crosshair; border-radius: 6px; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; list-style: none; padding: 0; margin: .6rem 0 0; color: var(--quiet); font-size: .85rem; }
.legend li { display: flex; align-items: center; gap: .45rem; }
.legend svg { width: 1.3rem; height: .95rem; flex: none; }
.moment { border-top: 1px solid var(--line); padding-top: 1rem; min-height: 4.2rem; }
.moment > * + * { margin-top: .6rem; }
.chart-line { fill: none; stroke: var(--accent); stroke-width: 1.7; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.chart-fill { fill: var(--accent-soft); stroke: none; }
.figures { display: flex; flex-wrap: wrap; gap: .7rem 2.6rem; border-top: 1px solid var(--line); padding-top: .9rem; }
.figures dt { color: var(--quiet); font-size: .85rem; }
.figures dd { margin: 0; font-weight: 550; }
@media (max-width: 46rem) {
  .tick-more { display: none; }
}
`;
