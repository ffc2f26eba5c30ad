// Faults of the emulated rig, to show somebody what happens. The rig says itself which it has.
import { act, get, html, may, tell, useEffect, useState } from "../core.js";

function Fault({ fault }) {
  const [values, set] = useState(() => Object.fromEntries(fault.params.map((p) => [p.name, p.default])));
  const submit = (e) => {
    e.preventDefault();
    act("/api/faults/inject", { fault: fault.name, values: Object.fromEntries(fault.params.map((p) => [p.name, p.choices.length ? values[p.name] : Number(values[p.name])])) }, `${fault.title}: done.`);
  };
  return html`<form class="fault" onSubmit=${submit} data-test=${`fault-${fault.name}`} aria-label=${fault.title}><div><h3>${fault.title}</h3><p class="muted">${fault.text}</p></div>
    ${fault.params.length > 0 && html`<fieldset class="fields" disabled=${!may("service")}>${fault.params.map((p) => html`<label key=${p.name}>${p.title}${p.unit && `, ${p.unit}`}
      ${p.choices.length ? html`<select name=${p.name} value=${values[p.name]} onChange=${(e) => set({ ...values, [p.name]: e.target.value })}>${p.choices.map((c) => html`<option value=${c}>${c}</option>`)}</select>`
        : html`<input name=${p.name} type="number" step="any" required min=${p.low} max=${p.high} value=${values[p.name]} onInput=${(e) => set({ ...values, [p.name]: e.target.value })} />`}</label>`)}</fieldset>`}
    <button disabled=${!may("service")} class=${fault.mends ? "" : "danger"}>${fault.mends ? "Do it" : "Inject"}</button></form>`;
}

export function Faults() {
  const [faults, set] = useState([]);
  useEffect(() => void get("/api/faults").then((a) => set(a.faults)).catch((error) => tell(error.message, "bad")), []);
  const groups = [...new Set(faults.map((f) => f.group))];
  return html`<section class="card demo" aria-label="Emulated rig"><p><b>Everything here is emulated.</b> These faults act on the rig's physics and devices; the charger knows nothing of this panel. A real charger has no such view, and its server no such address.</p>
    ${!may("service") && html`<p class="muted">Injecting needs the role service.</p>`}</section>
    ${groups.map((group) => html`<section class="card" key=${group} aria-label=${group}><h2>${group}</h2><div class="faults">${faults.filter((f) => f.group === group).map((f) => html`<${Fault} key=${f.name} fault=${f} />`)}</div></section>`)}`;
}
