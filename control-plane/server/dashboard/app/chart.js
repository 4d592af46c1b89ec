// Charts: uPlot in the page's colours, with what the pointer is on beside it.
import { html, useEffect, useRef } from "./lib.js";
import uPlot from "../vendor/uplot.js";
import { theme } from "./state.js";

export const COLOURS = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8"];
export const colour = (at) => `var(${COLOURS[at % COLOURS.length]})`;
const resolved = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * `times` are Unix seconds; `series`: `{ name, values, colour: "--c1", fill }`. `format` writes a value, `stacked` adds the series
 * up as bars. `onPick(index)` is a click.
 */
export function Chart({ times, series, format = String, height = 220, stacked, label, onPick, ranges }) {
  const box = useRef(null);
  const kept = useRef({});
  kept.current.onPick = onPick;
  useEffect(() => {
    const dark = () => draw();
    const media = matchMedia("(prefers-color-scheme: dark)");
    media.addEventListener("change", dark);
    const unsubscribe = theme.subscribe(() => setTimeout(draw));
    // The page may be left before what it had to say is heard.
    const sizes = new ResizeObserver(() => box.current && kept.current.plot?.setSize({ width: box.current.clientWidth, height }));
    sizes.observe(box.current);
    return () => {
      media.removeEventListener("change", dark);
      unsubscribe();
      sizes.disconnect();
      kept.current.plot?.destroy();
      kept.current.plot = null;
    };
  }, []);
  const draw = () => {
    if (!box.current) return;
    kept.current.plot?.destroy();
    kept.current.tip?.remove();
    const { plot, tip } = make(box.current, { ...kept.current.input, height, onPick: (at) => kept.current.onPick?.(at) });
    Object.assign(kept.current, { plot, tip });
  };
  kept.current.input = { times, series, format, stacked, ranges };
  const shape = `${series.map((one) => one.name).join()}:${stacked}`;
  useEffect(() => {
    if (kept.current.plot && kept.current.shape === shape) kept.current.plot.setData(columns(times, series, stacked));
    else draw();
    kept.current.shape = shape;
  }, [times, series]);
  return html`<div class="chart" style=${{ height: `${height}px` }} role="img" aria-label=${label} ref=${box}></div>`;
}

/** Stacked series are drawn from the sum of all downwards, each over the one before. */
function columns(times, series, stacked) {
  if (!stacked) return [times, ...series.map((one) => one.values)];
  const sums = [];
  series.reduceRight((below, one) => {
    const sum = one.values.map((value, at) => value + (below?.[at] ?? 0));
    sums.unshift(sum);
    return sum;
  }, null);
  return [times, ...sums];
}

function make(box, { times, series, format, stacked, height, onPick, ranges }) {
  const [line, quiet] = [resolved("--line"), resolved("--faint")];
  const axis = { stroke: quiet, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  const tip = document.createElement("div");
  tip.className = "chart-tip";
  tip.hidden = true;
  const drawn = series.map((one) => {
    const stroke = resolved(one.colour);
    return {
      label: one.name,
      stroke: stacked ? undefined : stroke,
      width: 1.6,
      fill: stacked ? stroke : one.fill ? `${stroke}1f` : undefined,
      points: stacked ? { show: false } : { show: true, size: 5, width: 0, fill: stroke, filter: lonely },
      paths: stacked ? uPlot.paths.bars({ size: [0.72, 48], radius: 0.12 }) : undefined,
      spanGaps: false,
    };
  });
  const plot = new uPlot(
    {
      width: box.clientWidth,
      height,
      padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { show: !stacked, size: 6 }, drag: { x: false } },
      scales: { x: { time: true, range: stacked ? (_, min, max) => [min - 43_200, max + 43_200] : undefined }, y: { range: (_, min, max) => [0, ranges?.(max) ?? (max > 0 ? max * 1.12 : 1)] } },
      axes: [
        { ...axis, size: 30, grid: { show: false }, space: 70, values: (_, at) => at.map(stacked ? day : moment), incrs: stacked ? [86400, 172800, 432000, 864000, 2592000] : undefined },
        { ...axis, values: (_, at) => at.map(format), size: 58, space: 40 },
      ],
      series: [{}, ...drawn],
      hooks: { setCursor: [(u) => point(u, tip, { times, series: series, format, stacked }, box)] },
    },
    columns(times, series, stacked),
    box,
  );
  box.append(tip);
  plot.over.addEventListener("click", () => plot.cursor.idx !== null && onPick(plot.cursor.idx));
  plot.over.addEventListener("mouseleave", () => (tip.hidden = true));
  return { plot, tip };
}

/** Points without a neighbour: a line has nothing to draw there. */
function lonely(plot, at) {
  const values = plot.data[at];
  const is = (n) => values[n] !== null && values[n] !== undefined;
  return values.map((_, n) => n).filter((n) => is(n) && !is(n - 1) && !is(n + 1));
}

const moment = (s) => {
  const at = new Date(s * 1000);
  const midnight = at.getHours() === 0 && at.getMinutes() === 0;
  return midnight ? at.toLocaleDateString("en-US", { month: "short", day: "numeric" }) : at.toLocaleTimeString("en-US", { hour: "2-digit", minute: "2-digit", hour12: false });
};
const day = (s) => new Date(s * 1000).toLocaleDateString("en-US", { month: "short", day: "numeric", timeZone: "UTC" });

function point(plot, tip, { series, format, stacked }, box) {
  const at = plot.cursor.idx;
  if (at === null || at === undefined || plot.cursor.left < 0) return void (tip.hidden = true);
  const time = plot.data[0][at];
  const rows = series.map((one, n) => {
    const value = stacked ? plot.data[n + 1][at] - (plot.data[n + 2]?.[at] ?? 0) : plot.data[n + 1][at];
    return [one, value];
  });
  tip.replaceChildren();
  const head = document.createElement("div");
  head.className = "quiet";
  head.textContent = stacked ? day(time) : new Date(time * 1000).toLocaleTimeString("en-US", { hour: "2-digit", minute: "2-digit", hour12: false });
  tip.append(head);
  for (const [one, value] of rows.filter(([, value]) => !stacked || value > 0).slice(0, 10)) {
    const line = document.createElement("div");
    const name = document.createElement("span");
    name.textContent = one.name;
    name.style.color = `var(${one.colour})`;
    const figure = document.createElement("b");
    figure.textContent = value === null || value === undefined ? "–" : format(value);
    line.append(name, figure);
    tip.append(line);
  }
  tip.hidden = false;
  const left = plot.cursor.left + plot.bbox.left / devicePixelRatio;
  tip.style.left = `${left + tip.offsetWidth + 16 > box.clientWidth ? left - tip.offsetWidth - 10 : left + 12}px`;
  tip.style.top = "6px";
}

export const Legend = ({ series }) => html`<div class="legend">${series.map((one) => html`<span><i style=${{ background: `var(${one.colour})` }}></i>${one.name}</span>`)}</div>`;
