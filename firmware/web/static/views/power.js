// The set-point stack: asked, each limiter, permitted, measured; who holds the lease; and asking for power.
import { Chart } from "../chart.js";
import { act, clock, DASH, get, html, known, kw, kwh, limiter, may, num, seconds, store, useEffect, useState } from "../core.js";

const clamp = (x) => Math.max(0, Math.min(100, x));

function Track({ span, low, high, fill, mark, kind }) {
  const x = (w) => clamp(((w + span) / (2 * span)) * 100);
  return html`<div class="track" aria-hidden="true">
    ${known(low) && html`<i class="band" style=${{ left: `${x(low)}%`, width: `${x(high) - x(low)}%` }}></i>`}
    ${known(fill) && html`<i class=${`fill ${fill >= 0 ? "charge" : "discharge"}`} style=${{ left: `${Math.min(x(0), x(fill))}%`, width: `${Math.abs(x(fill) - x(0))}%` }}></i>`}
    <i class="zero" style=${{ left: "50%" }}></i>
    ${known(mark) && html`<i class=${`mark ${kind ?? ""}`} style=${{ left: `${x(mark)}%` }}></i>`}
  </div>`;
}

function Bar({ name, text, why, wins, ...track }) {
  return html`<li class=${`bar ${wins ? "wins" : ""}`}><span class="name">${name}</span><${Track} ...${track} /><span class="n">${text}</span>
    ${why && html`<p class="why2">${why}</p>`}</li>`;
}

function range(discharge, charge) {
  const [down, up] = [num(discharge / 1000, 1), num(charge / 1000, 1)];
  return `${Number(down) ? "−" : ""}${down} … ${Number(up) ? "+" : ""}${up}`;
}

function limitWhy(limit) {
  const until = known(limit.until_s) ? `, until ${seconds(Math.max(0, limit.until_s - store.message.snapshot.t))} from now` : "";
  return `${limit.reason}${limit.clause ? ` (${limit.clause})` : ""}${until}`;
}

function Stack({ s }) {
  const me = store.me;
  const values = s.limits.flatMap((l) => [l.charge_w, l.discharge_w]).filter(known);
  const span = Math.max(1000, me.charge_w, me.discharge_w, ...values.filter((w) => w < 3 * Math.max(me.charge_w, me.discharge_w)));
  const winner = limiter(s.limited_by);
  const free = (w) => (known(w) ? w : span);
  return html`<section class="card" aria-labelledby="stack-title"><h2 id="stack-title">Set-point stack</h2>
    <div class="axis" aria-hidden="true"><span></span><span><b>−${num(span / 1000, 0)} kW discharge</b><b>0</b><b>+${num(span / 1000, 0)} kW charge</b></span><div></div></div>
    <ol class="stack" data-test="stack">
      <${Bar} name="Asked" span=${span} mark=${s.asked_w} kind="asked" text=${kw(s.asked_w)} why=${s.asked_by ? `${s.asked_by}${s.asked_reason ? `: ${s.asked_reason}` : ""}` : "nobody asks"} />
      ${s.limits.map((l) => html`<${Bar} key=${l.source} name=${l.source} span=${span} low=${-free(l.discharge_w)} high=${free(l.charge_w)} wins=${winner.startsWith(l.source) && s.permitted_w !== s.asked_w}
        text=${range(free(l.discharge_w), free(l.charge_w))} why=${limitWhy(l)} />`)}
      <${Bar} name="Permitted" span=${span} mark=${s.permitted_w} text=${kw(s.permitted_w)} why=${winner ? `limited by ${winner}` : "as asked"} />
      <${Bar} name="Measured" span=${span} fill=${s.measured_w} text=${kw(s.measured_w, 2)} why="DC side, by the converter's own values" />
    </ol></section>`;
}

function Lease({ s }) {
  const r = store.message.request;
  return html`<section class="card" aria-labelledby="lease-title"><h2 id="lease-title">Who holds the lease</h2>
    <p class="big">${s.asked_by || "nobody"}</p>
    <p class="muted">Guard forgets the request in ${num(s.lease_s, 1)} s unless services renew it.</p>
    ${r ? html`<p>${r.source} asks for ${kw(r.power_w)} for ${seconds(r.remaining_s)} more${r.reason ? `: ${r.reason}` : ""}.</p>`
      : html`<p class="muted">No request: what the board does by itself counts.</p>`}</section>`;
}

const TIMES = [[60, "1 min"], [600, "10 min"], [1800, "30 min"], [3600, "1 h"], [14400, "4 h"]];

function Ask() {
  const { charge_w, discharge_w } = store.me;
  const [power, setPower] = useState("0");
  const [forS, setFor] = useState(1800);
  const [reason, setReason] = useState("");
  const allowed = may("operator");
  const submit = (event) => {
    event.preventDefault();
    act("/api/power", { power_w: Number(power) * 1000, for_s: forS, reason }, `Asked for ${kw(Number(power) * 1000)} for ${seconds(forS)}.`);
  };
  return html`<section class="card" aria-labelledby="ask-title"><h2 id="ask-title">Ask for power</h2>
    ${!allowed && html`<p class="muted">This needs the role operator.</p>`}
    <form class="form" onSubmit=${submit}><fieldset class="form" disabled=${!allowed}>
      <label>Power, kW: + charges, − discharges
        <input type="number" step="0.1" min=${-discharge_w / 1000} max=${charge_w / 1000} required value=${power} onInput=${(e) => setPower(e.target.value)} data-test="power-kw" /></label>
      <input type="range" aria-label="Power, kW" step="0.5" min=${-discharge_w / 1000} max=${charge_w / 1000} value=${power} onInput=${(e) => setPower(e.target.value)} />
      <label>For how long<select value=${forS} onChange=${(e) => setFor(Number(e.target.value))}>${TIMES.map(([s, text]) => html`<option value=${s}>${text}</option>`)}</select></label>
      <label>Reason<input maxlength="120" placeholder="optional" value=${reason} onInput=${(e) => setReason(e.target.value)} /></label>
      <button class="primary" data-test="ask">Ask</button>
    </fieldset></form></section>`;
}

function Session({ s }) {
  const operator = may("operator");
  return html`<section class="card" aria-labelledby="session-title"><h2 id="session-title">Session</h2>
    <div class="row">
      <button class="danger" disabled=${!operator} data-test="stop" onClick=${() => act("/api/stop", {}, "Stopped: ramps to zero and opens.")}>Stop</button>
      <button disabled=${!operator} data-test="start" onClick=${() => act("/api/start", {}, "Sessions are allowed again.")}>Start</button>
      ${s.latched.length > 0 && html`<button disabled=${!may("service")} onClick=${() => act("/api/clear", {}, "Latched faults are acknowledged.")}>Acknowledge ${s.latched.join(", ")}</button>`}
    </div>
    <p class="muted">Stop ramps to zero and opens the contactors. It forgets all requests.</p></section>`;
}

// Steps: each period stands at its beginning and at its end, with a gap where nobody planned or measured anything.
function steps({ plan, actual }) {
  const at = [...new Set([...plan, ...actual].flatMap((p) => [p.from_s, p.to_s]))].sort((a, b) => a - b);
  const x = at.flatMap((t, i) => (i + 1 < at.length ? [t, Math.max(t, at[i + 1] - 1e-3)] : [t]));
  const values = (periods, of) => {
    let i = 0;
    return x.map((t) => {
      while (i < periods.length && t >= periods[i].to_s) i += 1;
      const p = periods[i];
      const w = p && t >= p.from_s ? of(p) : null;
      return known(w) ? w / 1000 : null;
    });
  };
  return [x, values(plan, (p) => p.power_w), values(actual, (p) => p.power_w), values(plan, (p) => p.high_w), values(plan, (p) => p.low_w)];
}

const PLAN_SERIES = [{ label: "planned", dash: [6, 4] }, { label: "actual, mean", width: 2.4 }, { label: "at most" }, { label: "at least" }];
const PLAN_MS = 10000;

function Plan() {
  const [answer, set] = useState(null);
  useEffect(() => {
    const load = () => get("/api/plan").then(set).catch(() => {}); // the sentence on top says what is missing
    load();
    const timer = setInterval(load, PLAN_MS);
    return () => clearInterval(timer);
  }, []);
  if (!answer?.plan) return null;
  const { plan, planned_wh, actual_wh } = answer;
  const now = Date.now() / 1000;
  const here = plan.find((p) => p.from_s <= now && now < p.to_s);
  const next = plan.find((p) => p.from_s > now);
  return html`<section class="card" aria-labelledby="plan-title" data-test="plan"><h2 id="plan-title">Plan and what came of it</h2>
    ${plan.length === 0 ? html`<p class="muted">There is no plan: no charging profile of the back end plans this session.</p>`
      : html`<p>${here ? `Now ${here.mode || "only limits"}${known(here.power_w) ? `, ${kw(here.power_w)}` : ""}.` : ""} ${next ? `From ${clock(next.from_s)} on ${known(next.power_w) ? kw(next.power_w) : next.mode || "only limits"}.` : ""}
      ${known(planned_wh) ? html` <b>Planned so far ${kwh(planned_wh)}, came ${kwh(actual_wh)}.</b>` : ""}</p>
      <${Chart} title="Power, kW (+ charges)" data=${steps(answer)} series=${PLAN_SERIES} height=${220} wall />
      <p class="muted">Of the back end's charging profiles, as they are now. Actual: mean between two rows of the energy registers, DC side.</p>`}</section>`;
}

export function Power() {
  const s = store.message?.snapshot;
  if (!s) return html`<section class="card"><p>${DASH}</p></section>`;
  return html`<div class="two"><div class="form"><${Stack} s=${s} /><${Plan} /></div><div class="form"><${Session} s=${s} /><${Ask} /><${Lease} s=${s} /></div></div>`;
}
