// The single line: grid, grid contactor, AC/DC, DC link, insulation, DC contactor, car; what flows between them.
import { age, DASH, html, known, kw, kwh, limiter, messageAge, num, ohms, store } from "../core.js";

const SYMBOLS = {
  grid: "M4 24c4-13 8-13 10 0s6 13 10 0 6-13 10 0 6 13 10 0",
  acdc: "M6 6h36v36H6zM6 42 42 6M11 17c2-5 4-5 5 0s3 5 5 0M27 34h10M27 38h3m2 0h3",
  link: "M8 16h32M8 32h32M24 6v10m0 16v10",
  shield: "M24 5v14M12 19h24M16 26h16M20 33h8",
  car: "M6 30v-6l6-10h22l6 10 2 1v9h-5m-8 0H18m-7 0H6zM11 34a4 4 0 1 0 8 0 4 4 0 0 0-8 0m18 0a4 4 0 1 0 8 0 4 4 0 0 0-8 0M12 23h24",
};

function Symbol({ path }) {
  return html`<svg class="symbol" viewBox="0 0 48 48" aria-hidden="true"><path d=${path} /></svg>`;
}

function Switch({ closed, charging }) {
  return html`<svg class=${`symbol switch ${closed ? "closed" : "open"}`} viewBox="0 0 48 48" aria-hidden="true">
    <path d="M2 24h12M34 24h12" /><circle cx="14" cy="24" r="3" /><circle cx="34" cy="24" r="3" />
    <path d=${closed ? "M14 24h20" : "M14 24 31 10"} />${charging && html`<path class="pre" d="M14 36h6l2-4 4 8 2-4h6" />`}</svg>`;
}

// A value with where it comes from and how old it is.
function Value({ name, text, source, at }) {
  const missing = text === DASH;
  return html`<div class=${`value ${missing ? "missing" : ""}`}><dt>${name}</dt>
    <dd><span class="n">${text}</span><small>${source}${missing ? ", nothing fresh" : known(at) ? `, ${age(at)}` : ""}</small></dd></div>`;
}

function Node({ title, symbol, state, kind, children }) {
  return html`<li class=${`node ${kind ?? ""}`}><div class="head">${symbol}<h3>${title}</h3>${state && html`<p class="is">${state}</p>`}</div>
    <dl>${children}</dl></li>`;
}

// + runs to the right, towards the car.
function Arrow({ watts, live, label }) {
  const flows = live && known(watts) && Math.abs(watts) >= 50;
  const kind = !flows ? "none" : watts > 0 ? "charge" : "discharge";
  const words = !flows ? "no power flows" : `${num(Math.abs(watts) / 1000, 1)} kW towards the ${watts > 0 ? "car" : "grid"}`;
  return html`<li class=${`arrow ${kind} ${live ? "live" : ""}`}><span class="flow" aria-hidden="true"><i></i></span>
    <span class="p">${flows ? kw(watts) : live ? "0 kW" : ""}</span><span class="sr">${label}: ${words}</span></li>`;
}

export function Live() {
  const m = store.message;
  const s = m?.snapshot;
  if (!s) return html`<section class="card"><p>Guard has not reported yet.</p></section>`;
  const here = messageAge();
  const ages = s.ages_s ?? {};
  const at = (name) => (known(ages[name]) ? ages[name] + here : here);
  const v = s.grid_v ?? [null, null, null];
  const dcLive = s.contactor_dc && known(s.v_dc_v);
  const ac = s.p_ac_w;
  const dc = s.measured_w;
  const session = m.energy?.session;
  return html`
  <section class="card" aria-labelledby="line-title"><h2 id="line-title">Single line</h2>
    <ol class="line" data-test="line">
      <${Node} title="Grid" kind=${s.grid_state === "connected" ? "on" : s.grid_state === "tripped" ? "bad" : "warn"} symbol=${html`<${Symbol} path=${SYMBOLS.grid} />`} state=${s.grid_state}>
        ${["L1", "L2", "L3"].map((n, i) => html`<${Value} name=${n} text=${known(v[i]) ? `${num(v[i], 1)} V` : DASH} source="pilot MCU" at=${at("grid")} />`)}
        <${Value} name="f" text=${known(s.grid_f_hz) ? `${num(s.grid_f_hz, 3)} Hz` : DASH} source="pilot MCU" at=${at("grid")} />
      <//>
      <${Arrow} watts=${ac} live=${s.contactor_grid} label="From the grid" />
      <${Node} title="Grid contactor" kind=${s.contactor_grid ? "slim on" : "slim"} symbol=${html`<${Switch} closed=${s.contactor_grid} />`} state=${s.contactor_grid ? "closed" : "open"}>
        <${Value} name="mirror" text=${s.contactor_grid ? "closed" : "open"} source="pilot MCU" at=${at("pilot")} />
      <//>
      <${Arrow} watts=${ac} live=${s.contactor_grid} label="Into the converter" />
      <${Node} title="AC/DC" kind=${s.converter_on ? "wide on" : s.converter_online ? "wide" : "wide warn"} symbol=${html`<${Symbol} path=${SYMBOLS.acdc} />`} state=${!s.converter_online ? "silent" : s.converter_on ? s.converter_direction : "off"}>
        <${Value} name="P" text=${kw(s.p_ac_w, 2)} source="converter" at=${at("p_ac")} />
        <${Value} name="Q" text=${known(s.q_ac_var) ? `${num(s.q_ac_var / 1000, 2)} kvar` : DASH} source="converter" at=${at("q_ac")} />
        <${Value} name="f" text=${known(s.converter_grid_f_hz) ? `${num(s.converter_grid_f_hz, 2)} Hz` : DASH} source="converter" at=${at("converter_grid")} />
        <${Value} name="T" text=${known(s.converter_temp_c) ? `${num(s.converter_temp_c, 0)} °C` : DASH} source="converter" at=${at("temperature")} />
      <//>
      <${Arrow} watts=${dc} live=${known(s.v_dc_v) && s.converter_on} label="Out of the converter" />
      <${Node} title="DC link" kind=${known(s.v_dc_v) && s.v_dc_v > 60 ? "on" : ""} symbol=${html`<${Symbol} path=${SYMBOLS.link} />`} state=${known(s.v_dc_v) && s.v_dc_v > 60 ? "live" : "safe"}>
        <${Value} name="U" text=${known(s.v_dc_v) ? `${num(s.v_dc_v, 1)} V` : DASH} source="converter" at=${at("dc")} />
        <${Value} name="I" text=${known(s.i_dc_a) ? `${num(s.i_dc_a, 2)} A` : DASH} source="converter" at=${at("dc")} />
        <${Value} name="I set" text=${known(s.i_set_a) ? `${num(s.i_set_a, 2)} A` : DASH} source="guard" at=${here} />
      <//>
      <li class="branch"><${Symbol} path=${SYMBOLS.shield} /><div><h3>Insulation</h3>
        <dl><${Value} name="R to PE" text=${ohms(s.insulation_ohm)} source="monitor" at=${at("insulation")} /></dl></div></li>
      <${Node} title="DC contactor" kind=${s.contactor_dc ? "slim on" : "slim"} symbol=${html`<${Switch} closed=${s.contactor_dc} charging=${s.contactor_precharge} />`} state=${s.contactor_dc ? "closed" : s.contactor_precharge ? "precharge" : "open"}>
        <${Value} name="mirror" text=${s.contactor_dc ? "closed" : "open"} source="pilot MCU" at=${at("pilot")} />
        <${Value} name="pre" text=${s.contactor_precharge ? "closed" : "open"} source="pilot MCU" at=${at("pilot")} />
      <//>
      <${Arrow} watts=${dc} live=${dcLive} label="Into the car" />
      <${Node} title="Car" kind=${s.car_phase === "transfer" ? "on" : s.car_phase === "silent" ? "warn" : ""} symbol=${html`<${Symbol} path=${SYMBOLS.car} />`} state=${s.car_phase}>
        <${Value} name="SoC" text=${known(s.soc_pct) ? `${num(s.soc_pct, 1)} %` : DASH} source="car" at=${at("car")} />
        <${Value} name="pilot" text=${s.cp} source="pilot MCU" at=${at("cp")} />
      <//>
    </ol>
  </section>
  <div class="tiles">
    <section class="card tile" aria-label="Power"><h2>Power</h2><p class=${`big ${dc > 50 ? "charge" : dc < -50 ? "discharge" : ""}`} data-test="power">${kw(dc, 2)}</p>
      <p class="muted">asked ${kw(s.asked_w)}${s.asked_by ? ` by ${s.asked_by}` : ""}, permitted ${kw(s.permitted_w)}</p>
      <p class="muted">${limiter(s.limited_by) || "nothing limits"}</p></section>
    <section class="card tile" aria-label="This session"><h2>This session</h2>
      ${session ? html`<p class="big">${kwh(session.charged_wh)}</p><p class="muted">charged; ${kwh(session.discharged_wh)} fed back, session ${session.number}</p>` : html`<p class="big">${DASH}</p><p class="muted">no session</p>`}
      <p class="muted">registers: ${kwh(m.energy?.charged_wh)} in, ${kwh(m.energy?.discharged_wh)} out</p></section>
    <section class="card tile" aria-label="Closest protection element"><h2>Closest to a trip</h2>
      ${s.elements[0] ? html`<p class="big">${s.elements[0].element}</p><p class="muted">margin ${num(s.elements[0].margin, 3)} ${s.elements[0].unit} to ${num(s.elements[0].threshold, 3)} ${s.elements[0].unit}, ${s.elements[0].source}</p>
      <p class="muted">${s.elements[0].clause}</p>` : html`<p class="big">${DASH}</p><p class="muted">nothing can be measured</p>`}</section>
    <section class="card tile" aria-label="Real time"><h2>Real time</h2><p class="big">${num(s.late_p99_us / 1000, 2)} ms</p>
      <p class="muted">late at p99; worst ${num(s.late_max_us / 1000, 1)} ms, ${s.missed} missed, bus load ${num(s.bus_load * 100, 0)} %</p>
      <p class="muted">${s.realtime}</p></section>
  </div>
  ${s.trip && html`<section class=${`card ${s.grid_state === "connected" ? "" : "trip"}`} aria-label="Last trip" data-test="trip"><h2>Last trip: ${s.trip.element}</h2><p>${s.trip.text}</p><p class="muted">${[s.trip.clause, s.trip.source].filter(Boolean).join(", ")}. <a href="#events">The record</a> shows how it came.</p></section>`}
  ${s.faults.length > 0 && html`<section class="card trip" aria-label="Faults"><h2>Faults</h2><p>${s.faults.join(", ")}</p>${s.latched.length > 0 && html`<p class="muted">Latched until somebody acknowledges them: ${s.latched.join(", ")}. <a href="#power">Power</a> has the button.</p>`}</section>`}`;
}
