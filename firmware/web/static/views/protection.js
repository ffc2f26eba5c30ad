// The protection plane: what the loaded code wants, and where the grid is.
import { DASH, html, known, loadPlane, num, seconds, store, useEffect, useRef } from "../core.js";

const T0 = 0.01;
const T1 = 10000;
let W = 560;
let H = 340;
const fit = () => ([W, H] = innerWidth < 760 ? [350, 290] : [560, 340]); // so that words stay legible on a phone
fit();
addEventListener("resize", fit);
const BOX = { left: 46, right: 18, top: 10, bottom: 34 };
const TRAIL_MS = 15000;
const MODES = {
  continuous_operation: "continuous operation",
  mandatory_operation: "must go on",
  permissive_operation: "may go on or cease",
  restricted: "must go to zero, stays connected",
  momentary_cessation: "must cease, stays connected",
  cease_to_energize: "must cease",
};

const xOf = (t) => BOX.left + (Math.log10(Math.min(Math.max(t, T0), T1) / T0) / Math.log10(T1 / T0)) * (W - BOX.left - BOX.right);
const yOf = (plane, v) => {
  const [low, high] = plane.ends;
  return BOX.top + (1 - (Math.min(Math.max(v, low), high) - low) / (high - low)) * (H - BOX.top - BOX.bottom);
};

function Regions({ plane }) {
  return plane.regions.map((r, i) => {
    const end = (t) => xOf(t ?? T1);
    const points = [[xOf(T0), yOf(plane, r.lo)], [end(r.until_lo_s), yOf(plane, r.lo)], [end(r.until_hi_s), yOf(plane, r.hi)], [xOf(T0), yOf(plane, r.hi)]];
    return html`<polygon key=${i} class=${`${r.kind} ${r.verified ? "" : "unverified"}`} points=${points.map((p) => p.map((c) => c.toFixed(1)).join(",")).join(" ")}>
      <title>${`${num(r.lo, 3)} to ${num(r.hi, 3)} ${plane.unit}: ${MODES[r.mode] ?? r.mode}${r.verified ? "" : ", only remembered and not applied"}; ${r.clause}`}</title></polygon>`;
  });
}

function Areas({ plane }) {
  const area = (t, from, to) => {
    const [y, outer] = [yOf(plane, t.threshold), t.side === "over" ? BOX.top : H - BOX.bottom];
    return { x: from, y: Math.min(y, outer), width: Math.max(0, to - from), height: Math.abs(y - outer) };
  };
  const trips = plane.trips.filter((t) => !t.mean);
  return html`<g class="trip-maybes">${trips.map((t) => html`<rect key=${t.id} class="trip-maybe" ...${area(t, xOf(t.first_s), xOf(t.last_s ?? T1))} />`)}</g>
    <g class="trip-regions">${trips.map((t) => html`<rect key=${t.id} class="trip-region" ...${area(t, xOf(t.last_s ?? T1), W - BOX.right)} />`)}</g>`;
}

function Trips({ plane, running }) {
  const taken = [];
  return plane.trips.map((t) => {
    const y = yOf(plane, t.threshold);
    const outer = t.side === "over" ? BOX.top : H - BOX.bottom;
    const x = xOf(t.last_s ?? T1);
    const hot = running.has(t.id) ? "running" : "";
    const right = W - BOX.right;
    let label = t.side === "over" ? y - 4 : y + 13;
    while (taken.some((other) => Math.abs(other - label) < 12)) label += t.side === "over" ? -12 : 12;
    taken.push(label);
    const words = `${t.id}  ${num(t.threshold, 3).replace(/0+$/, "").replace(/\.$/, "")} ${t.unit}, ${t.mean ? "10 min mean" : seconds(t.last_s)}`;
    const title = html`<title>${`${words}; ${t.clause}${t.set_by ? `; set by ${t.set_by}` : ""}`}</title>`;
    if (t.mean) return html`<g key=${t.id}>${title}<line class=${`trip-line mean ${hot}`} x1=${xOf(T0)} x2=${right} y1=${y} y2=${y} /><text class="trip-name" x=${xOf(T0) + 5} y=${label}>${words}</text></g>`;
    return html`<g key=${t.id}>${title}
      <polyline class=${`trip-line ${hot}`} points=${`${x},${outer} ${x},${y} ${right},${y}`} />
      <text class="trip-name" x=${right - 5} y=${label} text-anchor="end">${words}</text></g>`;
  });
}

// points: [{name, value, out}] with `out` the seconds since the value left its range.
function Plane({ plane, title, points, elements, nominal }) {
  const trails = useRef({});
  const now = performance.now();
  const running = new Set(elements.filter((e) => e.timer_s > 0).map((e) => e.element));
  const shown = points.filter((p) => known(p.value)).map((p) => ({ ...p, x: Math.max(xOf(p.out), BOX.left + 8), y: yOf(plane, p.value) }));
  for (const p of shown) {
    const trail = (trails.current[p.name] ??= []);
    trail.push([now, p.x, p.y]);
    while (trail.length && trail[0][0] < now - TRAIL_MS) trail.shift();
  }
  const steps = plane.unit === "pu" ? [0, 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4] : Array.from({ length: 40 }, (_, i) => Math.ceil(plane.ends[0]) + i).filter((v) => v <= plane.ends[1]);
  const words = shown.map((p) => `${p.name} ${num(p.value, plane.unit === "pu" ? 3 : 3)} ${plane.unit}`).join(", ") || "nothing measured";
  const labels = [...shown].sort((a, b) => a.y - b.y);
  const together = labels.length > 1 && labels.at(-1).y - labels[0].y < 22;
  return html`<section class="card" aria-label=${title}><h2>${title}</h2>
    <svg class="plane" viewBox=${`0 0 ${W} ${H}`} role="img" aria-label=${`${title}. Now ${words}.`}>
      <${Regions} plane=${plane} /><${Areas} plane=${plane} />
      ${[0.01, 0.1, 1, 10, 100, 1000, 10000].map((t) => html`<g key=${t}><line class="grid" x1=${xOf(t)} x2=${xOf(t)} y1=${BOX.top} y2=${H - BOX.bottom} /><text x=${xOf(t)} y=${H - BOX.bottom + 14} text-anchor="middle">${t}</text></g>`)}
      ${steps.map((v) => html`<g key=${v}><line class="grid" x1=${BOX.left} x2=${W - BOX.right} y1=${yOf(plane, v)} y2=${yOf(plane, v)} /><text x=${BOX.left - 6} y=${yOf(plane, v) + 4} text-anchor="end">${plane.unit === "pu" ? v.toFixed(1) : v}</text></g>`)}
      <text x=${W - BOX.right} y=${H - 4} text-anchor="end">seconds outside</text><text x=${BOX.left} y=${H - 4}>${plane.unit === "pu" ? "V, per unit" : "f, Hz"}</text>
      <line class="nominal" x1=${BOX.left} x2=${W - BOX.right} y1=${yOf(plane, nominal)} y2=${yOf(plane, nominal)} />
      <${Trips} plane=${plane} running=${running} />
      <rect class="frame" x=${BOX.left} y=${BOX.top} width=${W - BOX.left - BOX.right} height=${H - BOX.top - BOX.bottom} />
      ${shown.map((p) => html`<polyline key=${`t${p.name}`} class="trail" points=${trails.current[p.name].map(([, x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ")} />`)}
      ${shown.map((p) => html`<circle key=${p.name} class="dot" cx=${p.x} cy=${p.y} r="6" />`)}
      ${together ? html`<text class="dot-name" x=${labels[0].x + 11} y=${(labels[0].y + labels.at(-1).y) / 2 + 4}>${labels.map((p) => p.name).sort().join(" ")}</text>`
        : labels.map((p) => html`<text key=${p.name} class="dot-name" x=${p.x + 11} y=${p.y + 4}>${p.name}</text>`)}
    </svg></section>`;
}

function Elements({ elements }) {
  return html`<section class="card" aria-labelledby="elements-title"><h2 id="elements-title">Elements: margin and timer</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Elements"><table data-test="elements"><thead><tr><th>Element</th><th>Source</th><th class="n">Value</th><th class="n">Trips at</th><th class="n">Margin</th><th>Timer</th><th class="n">of</th><th>Clause</th></tr></thead>
    <tbody>${elements.map((e) => html`<tr key=${`${e.element} ${e.source}`} class=${e.timer_s > 0 ? "running" : ""}><td><b>${e.element}</b></td><td>${e.source}</td>
      <td class="n">${num(e.value, 3)} ${e.unit}</td><td class="n">${num(e.threshold, 3)} ${e.unit}</td><td class="n">${num(e.margin, 3)} ${e.unit}</td>
      <td><progress class=${e.timer_s > 0 ? "hot" : ""} aria-label=${`Timer of ${e.element}, ${e.source}`} max="1" value=${known(e.timer_s) && e.delay_s > 0 ? Math.min(1, e.timer_s / e.delay_s) : 0}></progress></td>
      <td class="n">${num(e.timer_s, 2)} / ${seconds(e.delay_s)}</td><td class="muted">${e.clause}</td></tr>`)}</tbody></table></div></section>`;
}

export function Protection() {
  const plane = store.plane;
  const s = store.message?.snapshot;
  useEffect(() => void loadPlane().catch(() => {}), []);
  if (!plane || !s) return html`<section class="card"><p>${DASH}</p></section>`;
  const out = (unit, over) => Math.max(0, ...s.elements.filter((e) => e.unit === unit && known(e.timer_s) && (over === undefined || e.value > 1 === over)).map((e) => e.timer_s));
  const volts = (s.grid_v ?? [null, null, null]).map((v, i) => {
    const value = known(v) ? v / plane.nominal_v : null;
    return { name: `L${i + 1}`, value, out: value !== null && Math.abs(value - 1) > 0.05 ? out("pu", value > 1) : 0 };
  });
  const hertz = [{ name: "f", value: s.grid_f_hz, out: out("Hz") }];
  const waiting = s.enter_service_remaining_s > 0;
  const used = new Set([...plane.voltage.regions, ...plane.frequency.regions].map((r) => r.kind));
  return html`
    <section class="card" aria-labelledby="code-title"><div class="spread"><div><h2 id="code-title">${plane.title}</h2><p><b data-test="grid-reason">${s.grid_reason}</b></p>
      <p class="muted">${s.grid_clause}</p>${plane.caution && html`<p class="problem">${plane.caution}</p>`}</div>
      ${waiting && html`<div class="countdown" data-test="countdown"><span class="big">${seconds(s.enter_service_remaining_s)}</span><progress aria-label="Time to entering service" max=${Math.max(plane.enter_service.delay_s, s.enter_service_remaining_s)} value=${Math.max(plane.enter_service.delay_s, s.enter_service_remaining_s) - s.enter_service_remaining_s}></progress><span class="muted">until it may enter service</span></div>`}</div>
      <p class="legend">${used.has("stay") && html`<span><i class="stay"></i>must go on</span>`}${used.has("may") && html`<span><i class="may"></i>may go on or cease</span>`}${used.has("cease") && html`<span><i class="cease"></i>must cease, stays connected</span>`}<span><i class="trip-key"></i>must have tripped</span><span>paler: only remembered, not applied</span></p></section>
    <div class="planes">
      <${Plane} plane=${plane.voltage} title="Voltage over time" points=${volts} elements=${s.elements.filter((e) => e.unit === "pu")} nominal=${1} />
      <${Plane} plane=${plane.frequency} title="Frequency over time" points=${hertz} elements=${s.elements.filter((e) => e.unit === "Hz")} nominal=${plane.nominal_f_hz} />
    </div>
    <${Elements} elements=${s.elements} />`;
}
