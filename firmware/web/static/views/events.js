// What happened, sessions, and disturbance records.
import { clock, get, html, known, kwh, loadEvents, num, store, useEffect, useRef, useState } from "../core.js";
import { Chart } from "../chart.js";

const KINDS = { info: "quiet", warning: "warn", no_entry: "warn", soft_stop: "bad", trip: "bad", latch: "bad" };
const LEVELS = ["info", "warning", "no_entry", "soft_stop", "trip", "latch"];

function Event({ event }) {
  const kind = event.cleared ? "quiet" : KINDS[event.severity] ?? "quiet";
  return html`<li class=${`event ${event.cleared ? "cleared" : ""}`}><time datetime=${new Date(event.wall_s * 1000).toISOString()} title=${clock(event.wall_s, true)}>${clock(event.wall_s)}</time>
    <span class=${`chip ${kind}`}>${event.cleared ? "over" : event.severity.replace("_", " ")}</span>
    <div class="body"><p class="what">${event.sentence}</p>${event.detail && html`<p class="detail">${event.detail}</p>`}
    ${!event.cleared && event.remedy && event.remedy !== "None." && html`<p class="remedy">→ ${event.remedy}</p>`}</div></li>`;
}

function Log() {
  const [level, setLevel] = useState("info");
  const [text, setText] = useState("");
  const found = store.events.filter((e) => LEVELS.indexOf(e.severity) >= LEVELS.indexOf(level) && `${e.code} ${e.sentence} ${e.detail}`.toLowerCase().includes(text.toLowerCase()));
  return html`<section class="card" aria-labelledby="log-title"><div class="spread"><h2 id="log-title">Events</h2><span class="muted">${found.length} of ${store.events.length}</span></div>
    <div class="filters"><label>At least<select value=${level} onChange=${(e) => setLevel(e.target.value)}>${LEVELS.map((l) => html`<option value=${l}>${l.replace("_", " ")}</option>`)}</select></label>
    <label>Contains<input type="search" value=${text} onInput=${(e) => setText(e.target.value)} /></label></div>
    <ol data-test="events">${found.slice(-150).reverse().map((e) => html`<${Event} key=${`${e.t} ${e.code} ${e.cleared} ${e.detail}`} event=${e} />`)}</ol></section>`;
}

function Sessions() {
  const [sessions, set] = useState(null);
  const running = store.message?.energy?.session;
  useEffect(() => {
    get("/api/sessions").then((a) => set(a.sessions.reverse())).catch(() => set([]));
  }, [running?.number, store.message?.snapshot?.state]);
  if (!sessions) return null;
  return html`<section class="card" aria-labelledby="sessions-title"><h2 id="sessions-title">Sessions</h2>
    ${sessions.length === 0 ? html`<p class="muted">There was none yet.</p>` : html`<div class="scroll" tabindex="0" role="region" aria-label="Sessions"><table data-test="sessions"><thead><tr><th class="n">No.</th><th>Began</th><th>Ended</th><th class="n">Import</th><th class="n">Export</th><th class="n">SoC</th><th>Why it ended</th></tr></thead>
    <tbody>${sessions.slice(0, 50).map((s) => {
      const open = s.t_end_wall === null;
      const here = open && running?.number === s.number ? running : null;
      return html`<tr key=${s.number}><td class="n">${s.number}</td><td>${clock(s.t_start_wall, true)}</td><td>${open ? "runs" : clock(s.t_end_wall)}</td>
      <td class="n">${kwh(here ? here.charged_wh : s.end_charged_wh - s.start_charged_wh)}</td><td class="n">${kwh(here ? here.discharged_wh : s.end_discharged_wh - s.start_discharged_wh)}</td>
      <td class="n">${known(s.start_soc_pct) ? num(s.start_soc_pct, 0) : "–"} → ${known(s.end_soc_pct) ? num(s.end_soc_pct, 0) : "–"} %</td><td class="muted">${s.reason}</td></tr>`;
    })}</tbody></table></div>`}</section>`;
}

// Which columns of a record go together; what is not named is left to the files.
const GROUPS = [
  ["Grid voltage by the pilot MCU, V", /^l[123]_(v|pu)$/],
  ["Grid voltage by the converter, V", /^converter_l[123]_(v|pu)$/],
  ["Frequency, Hz", /^(converter_)?f_hz$/],
  ["DC voltage, V", /^v_dc/],
  ["DC current, A", /^i_(dc|set)/],
  ["Power, W", /_w$/],
];

function Record({ record, close }) {
  const [data, set] = useState(null);
  const box = useRef(null);
  useEffect(() => {
    set(null);
    get(`/api/records/${record.id}`).then(set).catch((error) => set({ error: error.message }));
    box.current?.scrollIntoView({ block: "nearest" });
  }, [record.id]);
  const plots = data?.columns ? plotsOf(data) : [];
  return html`<div class="form" ref=${box} data-test="record"><div class="spread"><p><b>${record.code}</b> ${record.detail}</p><button onClick=${close}>Close</button></div>
    ${data?.error && html`<p class="problem">${data.error}</p>`}
    ${plots.map((p) => html`<${Chart} key=${p.title} title=${p.title} data=${p.data} series=${p.series} height=${170} xTitle="s" />`)}
    <p class="muted">${record.rows} rows, settings ${record.settings_hash.slice(0, 12) || "unknown"}; the files are in trips/ of the run directory.</p></div>`;
}

function plotsOf({ columns, data, t }) {
  const at = columns.findIndex((name) => name === "t_s" || name === "t");
  const raw = at >= 0 ? data[at] : data[0].map((_, i) => i);
  const zero = at >= 0 && raw[0] > 1000 ? t : 0;
  const x = raw.map((v) => v - zero);
  const used = new Set([at]);
  const plots = [];
  const add = (title, wanted) => {
    const picks = columns.map((_, i) => i).filter((i) => !used.has(i) && wanted(columns[i], data[i]));
    for (const i of picks) used.add(i);
    return picks.length ? { title, data: [x, ...picks.map((i) => data[i])], series: picks.map((i) => ({ label: columns[i] })) } : null;
  };
  for (const [title, test] of GROUPS) plots.push(add(title, (name, values) => test.test(name) && values.some(known)));
  // What is yes or no: one lane each, only those that changed.
  const lanes = add("Commands, contactors, permissions: one lane each", (_, values) => values.every((v) => v === 0 || v === 1) && values.some((v) => v !== values[0]));
  if (lanes) plots.push({ ...lanes, data: [x, ...lanes.data.slice(1).map((values, lane) => values.map((v) => lane + 0.7 * v))] });
  return plots.filter(Boolean);
}

function Records() {
  const [records, set] = useState([]);
  const [open, setOpen] = useState(null);
  const trips = store.events.filter((e) => LEVELS.indexOf(e.severity) >= 3).length;
  useEffect(() => {
    const load = () => get("/api/records").then((a) => set(a.records.reverse())).catch(() => {});
    load();
    const later = setTimeout(load, 2500); // the post-trigger time, and the writer's thread
    return () => clearTimeout(later);
  }, [trips, store.message?.snapshot?.trip?.t]);
  return html`<section class="card" aria-labelledby="records-title"><h2 id="records-title">Disturbance records</h2>
    ${records.length === 0 ? html`<p class="muted">There is none: nothing has tripped.</p>` : html`<div class="scroll" tabindex="0" role="region" aria-label="Disturbance records"><table data-test="records"><thead><tr><th class="n">No.</th><th>When</th><th>Cause</th><th>Detail</th><th></th></tr></thead>
    <tbody>${records.slice(0, 30).map((r) => html`<tr key=${r.id}><td class="n">${r.id}</td><td>${clock(r.t_wall, true)}</td><td><b>${r.code}</b></td><td>${r.detail}</td>
      <td><button aria-label=${`Show record ${r.id}`} aria-pressed=${open === r.id} onClick=${() => setOpen(open === r.id ? null : r.id)}>Show</button></td></tr>`)}</tbody></table></div>`}
    ${open !== null && records.find((r) => r.id === open) && html`<${Record} record=${records.find((r) => r.id === open)} close=${() => setOpen(null)} />`}</section>`;
}

export function Events() {
  useEffect(() => void loadEvents().catch(() => {}), []);
  return html`<${Records} /><${Sessions} /><${Log} />`;
}
