// The shell: who is here, where he is, what the charger does and why; the views stand in views/.
import { act, changed, connect, disconnect, get, html, loadMe, loadPlane, loadTrial, may, messageAge, num, render, seconds, store, useEffect, useState, useStore } from "./core.js";
import { Events } from "./views/events.js";
import { Faults } from "./views/faults.js";
import { Live } from "./views/live.js";
import { Parameters } from "./views/parameters.js";
import { Power } from "./views/power.js";
import { Protection } from "./views/protection.js";
import { Scope } from "./views/scope.js";

const VIEWS = [
  ["live", "Live", Live, "M3 12h4l2-6 4 12 3-9 1.5 3H21"],
  ["power", "Power", Power, "M13 2 4 14h7l-1 8 9-12h-7z"],
  ["protection", "Protection", Protection, "M12 3 4 6v6c0 5 3.5 8 8 9 4.5-1 8-4 8-9V6z"],
  ["scope", "Scope", Scope, "M4 4v16h16M7 14c2-8 4-8 6-2s4 4 6-4"],
  ["events", "Events", Events, "M5 6h14M5 12h14M5 18h9"],
  ["parameters", "Parameters", Parameters, "M4 8h9m4 0h3M4 16h3m4 0h9M15 5.5v5M9 13.5v5"],
  ["faults", "Faults", Faults, "M12 3 2.5 20h19zM12 9v5m0 3v.5"],
];

function useView() {
  const read = () => VIEWS.find(([key]) => location.hash === `#${key}`) ?? VIEWS[0];
  const [view, set] = useState(read);
  useEffect(() => {
    const moved = () => set(read());
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return view;
}

function ThemeButton() {
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const [isDark, set] = useState(dark);
  const toggle = () => {
    const next = isDark ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("quadrant-theme", next);
    } catch {
      // not kept: it holds for this page
    }
    set(!isDark);
    dispatchEvent(new Event("themechange"));
  };
  return html`<button class="plain icon" type="button" onClick=${toggle} aria-label=${isDark ? "Light colours" : "Dark colours"}>
    <svg viewBox="0 0 24 24" aria-hidden="true"><path d=${isDark ? "M12 4V2m0 20v-2m8-8h2M2 12h2m13.7-5.7 1.4-1.4M4.9 19.1l1.4-1.4m0-11.4L4.9 4.9m14.2 14.2-1.4-1.4M12 7a5 5 0 1 1 0 10 5 5 0 0 1 0-10" : "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5"} /></svg>
  </button>`;
}

export function stateKind(s) {
  if (!s) return "off";
  if (s.faults.length || s.state.includes("fault") || s.estop) return "bad";
  if (s.grid_state === "tripped") return "bad";
  if (s.grid_state !== "connected") return "warn";
  if (s.state.startsWith("transfer")) return s.measured_w !== null && s.measured_w < -50 ? "discharge" : "charge";
  return "off";
}

function Sentence() {
  const s = store.message?.snapshot;
  const old = messageAge();
  const problems = [...(store.message?.problems ?? [])];
  if (!store.reached) problems.unshift("This page has lost the screen's server: what is shown is old.");
  else if (!store.connected) problems.unshift("The charger does not answer the screen: it starts, or services are started again. Protection goes on in guard.");
  else if (old > 2) problems.unshift(`What is shown is ${seconds(old)} old.`);
  return html`<section class=${`sentence ${problems.length ? "warn" : ""} ${stateKind(s)}`} aria-label="What the charger does and why">
    ${s && html`<p class="chips"><span class=${`chip ${stateKind(s)}`} data-test="state">${s.state}</span>
      <span class=${`chip ${s.grid_state === "connected" ? "good" : s.grid_state === "tripped" ? "bad" : "warn"}`} data-test="grid-state">grid ${s.grid_state}</span>
      ${s.estop && html`<span class="chip bad">emergency stop</span>`}
      ${s.soc_pct !== null && html`<span class="chip quiet">SoC ${num(s.soc_pct, 0)} %</span>`}</p>`}
    ${problems.map((text) => html`<p class="problem" role="alert" key=${text.replace(/[\d.]+/g, "#")}>${text}</p>`)}
    <p class="why" data-test="why">${s ? s.why : "Waiting for the charger."}</p>
    ${s && html`<${Said} text=${s.why} />`}
  </section>`;
}

// For screen readers: the sentence when its words change, not with every number in it.
function Said({ text }) {
  const shape = text.replace(/[\d.,]+/g, "#");
  const [said, set] = useState("");
  useEffect(() => set(text), [shape]);
  return html`<p class="sr" role="status">${said}</p>`;
}

function Trial() {
  if (!store.trial) return null;
  const left = Math.max(0, (store.trialUntil - performance.now()) / 1000);
  const end = async (path, done) => {
    await act(path, {}, done);
    await loadTrial().catch(() => {});
  };
  return html`<section class="trial" role="alert" aria-label="Change on trial">
    <div><strong>A change is on trial</strong> and is taken back in <span data-test="trial-left">${num(left, 0)}</span> s unless somebody keeps it.
      <ul>${store.trial.told.map((text) => html`<li>${text}</li>`)}</ul></div>
    ${may("service") && html`<div class="row"><button class="primary" onClick=${() => end("/api/parameters/confirm", "The change stays.")}>Keep it</button>
    <button onClick=${() => end("/api/parameters/revert", "The change was taken back.")}>Take it back</button></div>`}
  </section>`;
}

function Login() {
  const me = store.me;
  const [role, setRole] = useState(me.roles[0] ?? "viewer");
  const [password, setPassword] = useState("");
  const submit = async (event) => {
    event.preventDefault();
    if (await act("/api/login", { role, password })) await start();
  };
  return html`<main class="login"><form class="card" onSubmit=${submit}>
    <h1>Quadrant</h1>
    ${me.problem && html`<p class="problem">${me.problem}</p>`}
    <label>Role<select value=${role} onChange=${(e) => setRole(e.target.value)}>
      ${me.roles.map((name) => html`<option value=${name}>${name}</option>`)}</select></label>
    <label>Password<input type="password" autocomplete="current-password" required value=${password} onInput=${(e) => setPassword(e.target.value)} /></label>
    <button class="primary">Log in</button>
  </form><${Notice} /></main>`;
}

function Notice() {
  const n = store.notice;
  return html`<div class="notices" aria-live="assertive">${n && html`<p class=${`notice ${n.kind}`} data-test="notice">${n.text}
    <button class="plain" aria-label="Close this message" onClick=${() => { store.notice = null; changed(); }}>×</button></p>`}</div>`;
}

function App() {
  useStore();
  const [key, title, View] = useView();
  useEffect(() => {
    document.title = `${title} · Quadrant`;
  }, [title]);
  const me = store.me;
  if (!me) return html`<p class="boot">Quadrant loads.</p>`;
  if (!me.role) return html`<${Login} />`;
  const shown = VIEWS.filter(([name]) => name !== "faults" || me.faults);
  const logout = async () => {
    await act("/api/logout", {});
    disconnect();
    await loadMe();
  };
  return html`<a class="skip" href="#content" onClick=${(e) => { e.preventDefault(); document.getElementById("content").focus(); }}>To the content</a>
    <header class="top">
      <a class="brand" href="#live"><img src="/static/icon.svg" alt="" width="26" height="26" /><span>Quadrant</span></a>
      <span class="board" title=${me.title}>${me.board}${me.emulated ? html` <span class="tag">emulated</span>` : ""}</span>
      <span class=${`link ${store.reached && store.connected ? "on" : "off"}`} data-test="link"><i aria-hidden="true"></i>${store.reached && store.connected ? "live" : "no connection"}</span>
      <span class="push"></span>
      <span class="role" data-test="role">${me.role}</span>
      ${me.login && html`<button class="plain" type="button" onClick=${logout}>Log out</button>`}
      <${ThemeButton} />
    </header>
    <nav class="tabs" aria-label="Views">${shown.map(([name, label, , path]) => html`<a href=${`#${name}`} key=${name} aria-current=${name === key ? "page" : null}>
      <svg viewBox="0 0 24 24" aria-hidden="true"><path d=${path} /></svg><span>${label}</span></a>`)}</nav>
    <main id="content" tabindex="-1">
      <h1 class="sr">${title}</h1>
      <${Sentence} /><${Trial} />
      ${key === "faults" && !me.faults ? html`<section class="card"><p>This charger has no rig, so there are no faults to inject.</p></section>` : html`<${View} key=${key} />`}
    </main>
    <${Notice} />`;
}

async function start() {
  const me = await loadMe();
  if (!me.role) return;
  connect();
  await Promise.allSettled([loadPlane(), loadTrial()]);
}

// The plane and the trial are read again until the charger has answered once.
setInterval(() => {
  if (!store.me?.role || !store.connected) return;
  if (!store.plane) loadPlane().catch(() => {});
  if (store.trial) {
    if (performance.now() > store.trialUntil) loadTrial().catch(() => {});
    else changed();
  }
}, 1000);
setInterval(() => {
  if (messageAge() > 1) changed(); // nothing comes: the age still grows
}, 500);

render(html`<${App} />`, document.getElementById("app"));
document.querySelector("#app > .boot")?.remove();
start().catch((error) => {
  document.getElementById("app").textContent = error.message;
});
export { get };
