// What may be set over the grid code: seen before it is applied, on trial until it is confirmed.
import { act, DASH, get, html, loadTrial, may, Refusal, post, store, tell, useEffect, useState } from "../core.js";

const WORDS = {
  charge_pu: "Charging, at most", discharge_pu: "Discharging, at most", response_s: "Response time", normal_pu_per_s: "Normal ramp", soft_start_pu_per_s: "Ramp after entering service",
  v_min: "Least voltage", v_max: "Highest voltage", f_min: "Least frequency", f_max: "Highest frequency", delay_s: "Time inside the window", ramp_duration_s: "Ramp", ramp_pu_per_min: "Ramp",
  vref_pu: "Reference voltage", autonomous_s: "Reference follows in", db_of_hz: "Dead band above", db_uf_hz: "Dead band below", k_of: "Droop above", k_uf: "Droop below", pf: "Power factor",
  absorbing: "Absorbing (1) or injecting (0)", q_pu: "Reactive power (+ absorbs)",
};
const value = (v) => (v === null || v === undefined ? DASH : typeof v === "number" ? String(Number(v.toPrecision(7))) : String(v));

function Difference({ changes }) {
  if (!changes.length) return html`<p>Nothing that is in force would change.</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Difference"><table data-test="difference"><thead><tr><th>Number</th><th>Now</th><th>Then</th></tr></thead>
    <tbody>${changes.map((c) => html`<tr key=${c.key}><td>${c.key}</td><td class="old">${value(c.before)}</td><td class="new">${value(c.after)}</td></tr>`)}</tbody></table></div>`;
}

function Points({ kind, points, setPoints, allowed }) {
  const put = (i, k, text) => setPoints(points.map((p, j) => (j === i ? p.map((v, l) => (l === k ? text : v)) : p)));
  const bound = (i, k, high) => kind.ranges[i]?.[k * 2 + (high ? 1 : 0)] ?? (high ? kind.axes[k].high : kind.axes[k].low);
  return html`<fieldset class="pairs" disabled=${!allowed}><legend class="muted">${kind.stages ? "Stages" : "Points of the curve"}: ${kind.axes[0].unit}, ${kind.axes[1].unit}</legend>
    ${points.map((p, i) => html`<div class=${`pair ${kind.stages ? "staged" : ""}`} key=${i}>
      ${kind.stages && html`<b>${kind.stages[i]}</b>`}
      ${[0, 1].map((k) => html`<label>${kind.stages ? (k ? "seconds" : "threshold") : k ? "y" : "x"}<input type="number" step="any" required min=${bound(i, k, false)} max=${bound(i, k, true)}
        readonly=${kind.stages && kind.ranges[i][k * 2] === null} value=${p[k]} aria-label=${`${kind.title}, ${kind.stages ? kind.stages[i] : `point ${i + 1}`}, ${kind.axes[k].unit}`} onInput=${(e) => put(i, k, e.target.value)} /></label>`)}
      ${!kind.stages && html`<button type="button" class="plain" aria-label=${`Remove point ${i + 1}`} onClick=${() => setPoints(points.filter((_, j) => j !== i))}>×</button>`}</div>`)}
    ${!kind.stages && points.length < 10 && html`<div><button type="button" onClick=${() => setPoints([...points, ["", ""]])}>Add a point</button></div>`}</fieldset>`;
}

function Kind({ kind, reload, confirmS }) {
  const allowed = may("service");
  const [numbers, setNumbers] = useState(() => Object.fromEntries(kind.numbers.map((n) => [n.key, n.value ?? ""])));
  const [points, setPoints] = useState(() => kind.points.map((p) => [...p]));
  const [plan, setPlan] = useState(null); // what was looked at, and what it would change
  const [waitS, setWait] = useState(60);
  const body = (clear) => {
    if (clear) return { kind: kind.kind, clear: true };
    const given = Object.fromEntries(Object.entries(numbers).filter(([, v]) => v !== "").map(([k, v]) => [k, Number(v)]));
    return { kind: kind.kind, numbers: given, ...(kind.axes.length ? { points: points.map((p) => p.map(Number)) } : {}) };
  };
  const edit = (change) => {
    setPlan(null);
    change();
  };
  const check = async (clear) => {
    const wanted = body(clear);
    try {
      const { changes } = await post("/api/parameters/check", wanted);
      setPlan({ wanted, changes });
    } catch (error) {
      setPlan(null);
      tell(error instanceof Refusal ? error.message : String(error), "bad");
    }
  };
  const apply = async () => {
    const done = await act("/api/parameters/apply", { ...plan.wanted, confirm_s: waitS }, "Applied, on trial: keep it or it is taken back.");
    if (done) {
      setPlan(null);
      await loadTrial().catch(() => {});
      reload();
    }
  };
  const submit = (e) => {
    e.preventDefault();
    check(false);
  };
  return html`<details class="kind" data-test=${`kind-${kind.kind}`}><summary>${kind.title} <span class="muted">${kind.text}</span>${kind.set && html`<span class="chip warn">set here</span>`}${kind.others.map((o) => html`<span class="chip quiet">${o}</span>`)}</summary>
    <form class="inside" onSubmit=${submit}>
      ${kind.numbers.length > 0 && html`<fieldset disabled=${!allowed} class="fields">${kind.numbers.map((n) => html`<label key=${n.key}>${WORDS[n.key] ?? n.key}, ${n.unit}
        <input type="number" step="any" min=${n.low} max=${n.high} required=${n.needed} placeholder="as the code" name=${n.key} value=${numbers[n.key]} onInput=${(e) => edit(() => setNumbers({ ...numbers, [n.key]: e.target.value }))} />
        <span class="hint">${value(n.low)} to ${value(n.high)}${n.needed ? "" : ", optional"}</span></label>`)}</fieldset>`}
      ${kind.axes.length > 0 && html`<${Points} kind=${kind} points=${points} allowed=${allowed} setPoints=${(p) => edit(() => setPoints(p))} />`}
      ${allowed && html`<div class="row"><button data-test="check">Show what would change</button>${kind.set && html`<button type="button" onClick=${() => check(true)}>Back to the code</button>`}</div>`}
      ${plan && html`<div class="diff"><${Difference} changes=${plan.changes} />
        <div class="row"><label class="row">taken back after<select aria-label="Taken back after" value=${waitS} onChange=${(e) => setWait(Number(e.target.value))}>${[15, 60, 300, 600].filter((s) => s >= confirmS[0] && s <= confirmS[1]).map((s) => html`<option value=${s}>${s} s</option>`)}</select></label>
        <button type="button" class="primary" data-test="apply" onClick=${apply}>Apply on trial</button><button type="button" onClick=${() => setPlan(null)}>Leave it</button></div></div>`}
    </form></details>`;
}

function InForce({ rows, code }) {
  const [text, setText] = useState("");
  const found = rows.filter((r) => `${r.key} ${r.clause}`.toLowerCase().includes(text.toLowerCase()));
  return html`<section class="card" aria-labelledby="force-title"><div class="spread"><h2 id="force-title">In force: ${code}</h2><label class="row">Contains<input type="search" value=${text} onInput=${(e) => setText(e.target.value)} /></label></div>
    <div class="scroll" tabindex="0" role="region" aria-label="Numbers in force"><table><thead><tr><th>Number</th><th class="n">Value</th><th class="n">Adjustable</th><th>Clause</th><th>Confidence</th><th>Set by</th></tr></thead>
    <tbody>${found.map((r) => html`<tr key=${r.key}><td>${r.key}</td><td class="n">${value(r.value)} ${r.unit}</td><td class="n muted">${r.low === null ? "no" : `${value(r.low)} … ${value(r.high)}`}</td><td class="muted">${r.clause}</td><td class="muted">${r.confidence}</td><td>${r.by ? html`<b>${r.by}</b>` : "profile"}</td></tr>`)}</tbody></table></div></section>`;
}

export function Parameters() {
  const [answer, set] = useState(null);
  const [serial, bump] = useState(0);
  const load = () => get("/api/parameters").then((a) => { set(a); bump((n) => n + 1); }).catch((error) => tell(error.message, "bad"));
  useEffect(() => void load(), [store.trial === null]);
  if (!answer) return html`<section class="card"><p>${DASH}</p></section>`;
  return html`<section class="card" aria-labelledby="set-title"><h2 id="set-title">Set over the grid code</h2>
      ${!may("service") && html`<p class="muted">Changing needs the role service.</p>`}
      ${answer.refused && html`<p class="problem">Not in force: ${answer.refused}</p>`}
      ${answer.kinds.map((kind) => html`<${Kind} key=${`${kind.kind} ${serial}`} kind=${kind} reload=${load} confirmS=${answer.confirm_s} />`)}</section>
    <${InForce} rows=${answer.in_force} code=${answer.code} />`;
}
