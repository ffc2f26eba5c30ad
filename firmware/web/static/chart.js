// uPlot as a component: made once for its series, fed with new data, as wide as its place, in the theme's colours.
import { clock, css, html, useEffect, useMemo, useRef } from "./core.js";

const COLOURS = ["--s1", "--s2", "--s3", "--s4", "--s5", "--s6"];

function options({ title, series, height, width, xTitle, wall, hooks, cursor, scales }) {
  const axis = { stroke: css("--muted"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 } };
  return {
    title, width, height, hooks, cursor,
    scales: { x: { time: Boolean(wall) }, ...scales },
    legend: { live: true },
    series: [
      { label: xTitle ?? "time", value: wall ? (_, v) => clock(v) : (_, v) => (v === null ? "–" : v.toFixed(3)) },
      ...series.map((s, i) => ({ label: s.label, stroke: css(COLOURS[i % COLOURS.length]), width: s.width ?? 1.6, dash: s.dash, spanGaps: false, value: (_, v) => (v === null || v === undefined ? "–" : v.toFixed(s.decimals ?? 2)) })),
    ],
    axes: [wall ? { ...axis, values: (_, splits) => splits.map((t) => clock(t)), space: 80 } : axis, { ...axis, size: 62 }],
  };
}

// data: [x, y1, y2, ...]. window: [from, to] of x; absent: all; made(u) gets the uPlot.
export function Chart({ title, data, series, height = 180, xTitle, wall, hooks, cursor, scales, window: view, made }) {
  const box = useRef(null);
  const plot = useRef(null);
  const shape = `${title} ${series.map((s) => s.label).join("|")}`;
  useEffect(() => {
    const make = () => {
      plot.current?.destroy();
      plot.current = new globalThis.uPlot(options({ title, series, height, xTitle, wall, hooks, cursor, scales, width: Math.max(240, box.current.clientWidth) }), data, box.current);
      plot.current.root.setAttribute("aria-hidden", "true");
      made?.(plot.current);
    };
    make();
    const observer = new ResizeObserver(() => plot.current?.setSize({ width: Math.max(240, box.current.clientWidth), height }));
    observer.observe(box.current);
    addEventListener("themechange", make);
    return () => {
      observer.disconnect();
      removeEventListener("themechange", make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape]);
  useEffect(() => {
    const u = plot.current;
    if (!u) return;
    u.batch(() => {
      u.setData(data, !view);
      if (view) u.setScale("x", { min: view[0], max: view[1] });
    });
  }, [data, view?.[0], view?.[1]]);
  const said = useMemo(() => series.map((s, i) => {
    const values = (data[i + 1] ?? []).filter((v) => typeof v === "number" && Number.isFinite(v));
    if (!values.length) return `${s.label}: nothing`;
    let [low, high] = [Infinity, -Infinity];
    for (const v of values) {
      if (v < low) low = v;
      if (v > high) high = v;
    }
    return `${s.label}: ${low.toFixed(2)} to ${high.toFixed(2)}, last ${values.at(-1).toFixed(2)}`;
  }), [data]);
  return html`<div class="plot" role="img" aria-label=${`${title}. ${said.join("; ")}.`}><div ref=${box}></div></div>`;
}
