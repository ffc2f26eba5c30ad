// The last minutes: zoom by dragging or by keys, freeze on an event, download.
import { Chart } from "../chart.js";
import { clock, get, html, listeners, may, num, store, useEffect, useMemo, useRef, useState } from "../core.js";

const KEPT_S = 600;
const DRAW_MS = 250;
const WINDOWS = [[10, "10 s"], [60, "1 min"], [180, "3 min"], [600, "10 min"]];
const PANELS = [
  ["Power, kW (+ charges)", [["measured_w", "measured", 1e-3], ["asked_w", "asked", 1e-3, [6, 4]], ["permitted_w", "permitted", 1e-3, [2, 3]]]],
  ["Grid voltage, V", [["v_l1_v", "L1"], ["v_l2_v", "L2"], ["v_l3_v", "L3"]]],
  ["Frequency, Hz", [["f_hz", "f", 1, undefined, 3]]],
  ["DC voltage, V", [["v_dc_v", "U"]]],
  ["DC current, A", [["i_dc_a", "measured"], ["i_set_a", "set", 1, [6, 4]]]],
];
const TRIGGERS = [["", "off"], ["trip", "a trip or a fault"], ["state", "a change of state"], ["any", "any event"]];

const blank = () => ({ columns: [], rows: [] });

function triggers(kind, event) {
  if (kind === "any") return true;
  if (kind === "trip") return ["trip", "latch", "soft_stop"].includes(event.severity) && !event.cleared;
  return kind === "state" && event.code === "state";
}

function rowOf(columns, s) {
  const named = { v_l1_v: s.grid_v?.[0], v_l2_v: s.grid_v?.[1], v_l3_v: s.grid_v?.[2], f_hz: s.grid_f_hz, temp_c: s.converter_temp_c };
  return columns.map((name) => (name in named ? named[name] : s[name]) ?? null);
}

function useBuffer() {
  const buffer = useRef(blank());
  const [stamp, draw] = useState(0);
  useEffect(() => {
    let gone = false;
    const early = [];
    const take = (message) => {
      const b = buffer.current;
      if (!message.snapshot) return;
      if (!b.columns.length) early.push(message);
      else {
        const row = rowOf(b.columns, message.snapshot);
        const last = b.rows.at(-1)?.[0] ?? -Infinity;
        if (row[0] > last) b.rows.push(row);
        else if (row[0] < last - 1) b.rows = [row]; // the machine's clock began anew
        while (b.rows.length && b.rows[0][0] < row[0] - KEPT_S) b.rows.shift();
      }
    };
    listeners.state.add(take);
    get("/api/scope").then((answer) => {
      if (gone) return;
      const rows = (answer.data[0] ?? []).map((_, i) => answer.data.map((column) => column[i]));
      buffer.current = { columns: answer.columns, rows };
      early.forEach(take);
    }).catch(() => {});
    const timer = setInterval(() => draw((n) => n + 1), DRAW_MS);
    return () => {
      gone = true;
      listeners.state.delete(take);
      clearInterval(timer);
    };
  }, []);
  return [buffer.current, stamp];
}

export function Scope() {
  const [buffer, stamp] = useBuffer();
  const [span, setSpan] = useState(60);
  const [frozen, setFrozen] = useState(null); // [from, to] in s of the charger
  const [trigger, setTrigger] = useState("");
  const [caught, setCaught] = useState(null);
  const marks = useRef([]);
  const offset = store.me.wall_offset_s;
  const end = buffer.rows.at(-1)?.[0] ?? 0;

  useEffect(() => {
    const happened = (event) => {
      if (!trigger || caught || !triggers(trigger, event)) return;
      setCaught(event);
      setTimeout(() => setFrozen([event.t - span * 0.6, event.t + span * 0.4]), span * 400); // the post-trigger time
    };
    listeners.event.add(happened);
    return () => listeners.event.delete(happened);
  }, [trigger, span, caught]);

  const view = frozen ?? [end - span, end];
  marks.current = store.events.filter((e) => e.severity !== "info" || e.code === "state").map((e) => [e.t + offset, ["trip", "latch", "soft_stop"].includes(e.severity)]);
  const charts = useMemo(() => {
    const at = (name) => buffer.columns.indexOf(name);
    const first = Math.max(0, buffer.rows.findIndex((row) => row[0] >= view[0] - 1));
    const rows = buffer.rows.slice(first).filter((row) => row[0] <= view[1] + 1);
    const x = rows.map((row) => row[0] + offset);
    return PANELS.map(([, lines]) => [x, ...lines.map(([name, , scale = 1]) => rows.map((row) => (row[at(name)] === null || row[at(name)] === undefined ? null : row[at(name)] * scale)))]);
  }, [stamp, frozen, span]);

  const move = (by) => setFrozen([view[0] + by * (view[1] - view[0]), view[1] + by * (view[1] - view[0])]);
  const zoom = (by) => {
    const middle = (view[0] + view[1]) / 2;
    const half = Math.min(KEPT_S / 2, Math.max(0.5, ((view[1] - view[0]) / 2) * by));
    setFrozen([middle - half, middle + half]);
  };
  const live = () => {
    setFrozen(null);
    setCaught(null);
  };
  const hooks = {
    draw: [(u) => {
      const ctx = u.ctx;
      ctx.save();
      for (const [t, bad] of marks.current) {
        if (t < u.scales.x.min || t > u.scales.x.max) continue;
        const px = Math.round(u.valToPos(t, "x", true));
        ctx.strokeStyle = bad ? "#d64545" : "#8a97a3";
        ctx.lineWidth = bad ? 2 : 1;
        ctx.setLineDash(bad ? [] : [3, 4]);
        ctx.beginPath();
        ctx.moveTo(px, u.bbox.top);
        ctx.lineTo(px, u.bbox.top + u.bbox.height);
        ctx.stroke();
      }
      ctx.restore();
    }],
    setSelect: [(u) => {
      if (u.select.width < 8) return;
      setFrozen([u.posToVal(u.select.left, "x") - offset, u.posToVal(u.select.left + u.select.width, "x") - offset]);
      u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    }],
  };
  const cursor = { sync: { key: "scope" }, drag: { x: true, y: false, setScale: false } };
  const keys = (e) => {
    const done = { ArrowLeft: () => move(-0.25), ArrowRight: () => move(0.25), "+": () => zoom(0.5), "-": () => zoom(2) }[e.key];
    if (done) {
      e.preventDefault();
      done();
    }
  };
  return html`<section class="card" aria-labelledby="scope-title"><div class="spread"><h2 id="scope-title">Scope</h2>
      <p class="muted" role="status" data-test="scope-state">${caught ? `Caught: ${caught.sentence} ${clock(caught.wall_s)}` : trigger ? "Armed" : frozen ? "Frozen" : "Live"}${frozen ? `, ${clock(view[0] + offset)} + ${num(view[1] - view[0], 1)} s` : ""}</p></div>
    <div class="spread"><div class="segments" role="group" aria-label="Window">${WINDOWS.map(([s, text]) => html`<button aria-pressed=${!frozen && span === s} onClick=${() => { setSpan(s); live(); }}>${text}</button>`)}
      <button onClick=${() => zoom(0.5)} aria-label="Zoom in">+</button><button onClick=${() => zoom(2)} aria-label="Zoom out">−</button>
      ${frozen ? html`<button class="primary" onClick=${live}>Live</button>` : html`<button onClick=${() => setFrozen(view)}>Freeze</button>`}</div>
      <div class="row"><label class="row">Freeze on <select value=${trigger} onChange=${(e) => { setTrigger(e.target.value); setCaught(null); }} aria-label="Freeze on">${TRIGGERS.map(([key, text]) => html`<option value=${key}>${text}</option>`)}</select></label>
      <a class="button" download href=${`/api/scope.csv?from=${view[0].toFixed(3)}&to=${(frozen ? view[1] : end + 60).toFixed(3)}`}>CSV</a></div></div>
    <div tabindex="0" role="group" aria-label="Charts; arrow keys move, plus and minus zoom" onKeyDown=${keys} class="charts">
      ${PANELS.map(([title, lines], i) => html`<${Chart} key=${title} title=${title} data=${charts[i]} wall=${true} height=${i === 0 ? 190 : 150} hooks=${hooks} cursor=${cursor}
        window=${[view[0] + offset, view[1] + offset]} series=${lines.map(([, label, , dash, decimals]) => ({ label, dash, decimals }))} />`)}</div>
    <p class="muted">Lines mark events: red ones tripped or stopped. Drag to zoom. ${may("viewer") ? "Ten values a second of the last ten minutes; disturbance records hold every control period." : ""}</p></section>`;
}
