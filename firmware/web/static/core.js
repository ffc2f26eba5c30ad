// What every view needs: the store, the line to the server, and words for numbers.
import { html, useEffect, useState } from "./vendor/htm-preact.module.js";

export { html, useEffect, useState };
export { render, useMemo, useRef } from "./vendor/htm-preact.module.js";

// ------------------------------------------------------------------------------------------------------------- store
// One object, changed in place; views are drawn again at most once a frame.
export const store = {
  me: null, // who I am, from /api/me
  message: null, // newest state of the charger
  got: 0, // when it came, performance.now()
  connected: false, // the screen's server to the charger
  reached: false, // this page to the screen's server
  events: [], // newest last
  plane: null,
  trial: null, // a change of parameters that nobody has confirmed yet
  trialUntil: 0,
  notice: null,
};
const watchers = new Set();
let asked = false;

export function changed() {
  if (asked) return;
  asked = true;
  // A hidden page draws no frames: then nothing is drawn, and nothing piles up.
  requestAnimationFrame(() => {
    asked = false;
    for (const watcher of watchers) watcher();
  });
}

export function useStore() {
  const [, draw] = useState(0);
  useEffect(() => {
    const watcher = () => draw((n) => n + 1);
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  }, []);
  return store;
}

// Views that want every message, drawn or not (the scope).
export const listeners = { state: new Set(), event: new Set() };

// ------------------------------------------------------------------------------------------------------- the server
export class Refusal extends Error {}

async function answerOf(response) {
  let body;
  try {
    body = await response.json();
  } catch {
    throw new Refusal(`The screen's server answered ${response.status} without words.`);
  }
  if (!response.ok) {
    if (response.status === 401) await loadMe();
    throw new Refusal(body.error ?? `The screen's server answered ${response.status}.`);
  }
  return body;
}

export async function get(path) {
  try {
    return await answerOf(await fetch(path, { cache: "no-store" }));
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal("The screen's server does not answer.");
  }
}

export async function post(path, body = {}) {
  const headers = { "content-type": "application/json", "x-quadrant-token": store.me?.token ?? "" };
  try {
    return await answerOf(await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal("The screen's server does not answer; nothing is known of the command.");
  }
}

// Does something and says how it went. Returns whether it worked.
export async function act(path, body, done) {
  try {
    const answer = await post(path, body);
    if (done) tell(done, "good");
    return answer;
  } catch (error) {
    tell(error.message, "bad");
    return null;
  }
}

let noticeTimer = 0;
export function tell(text, kind) {
  store.notice = { text, kind };
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => {
    store.notice = null;
    changed();
  }, kind === "bad" ? 12000 : 5000);
  changed();
}

export async function loadMe() {
  const response = await fetch("/api/me", { cache: "no-store" });
  const me = await response.json();
  if (!response.ok) throw new Refusal(me.error);
  store.me = me;
  changed();
  return me;
}

export function may(role) {
  const order = { viewer: 1, operator: 2, service: 3 };
  return (order[store.me?.role] ?? 0) >= order[role];
}

let stream = null;
export function connect() {
  stream?.close();
  stream = new EventSource("/api/stream");
  stream.onopen = () => {
    store.reached = true;
    loadMe().catch(() => {}); // the server may have been started again: its token and its clock are new
    loadEvents().catch(() => {});
    changed();
  };
  stream.onerror = () => {
    store.reached = false;
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
    changed();
  };
  stream.addEventListener("link", (e) => {
    store.connected = JSON.parse(e.data).connected;
    changed();
  });
  stream.addEventListener("state", (e) => {
    store.message = JSON.parse(e.data);
    store.got = performance.now();
    for (const listener of listeners.state) listener(store.message);
    changed();
  });
  stream.addEventListener("happened", (e) => {
    const event = JSON.parse(e.data);
    store.events = [...store.events.slice(-999), event];
    for (const listener of listeners.event) listener(event);
    if (event.code === "grid_controls" || event.code === "grid_control") {
      loadPlane().catch(() => {});
      loadTrial().catch(() => {});
    }
    changed();
  });
  stream.addEventListener("ended", () => {
    stream.close();
    store.message = null;
    loadMe().catch(() => {});
  });
}

export function disconnect() {
  stream?.close();
  stream = null;
  store.message = null;
}

export async function loadEvents() {
  store.events = (await get("/api/events?limit=300")).events;
  changed();
}

export async function loadPlane() {
  store.plane = await get("/api/plane");
  changed();
}

export async function loadTrial() {
  const { trial } = await get("/api/parameters");
  store.trial = trial;
  store.trialUntil = trial ? performance.now() + trial.remaining_s * 1000 : 0;
  changed();
}

// --------------------------------------------------------------------------------------------------- words for numbers
export const DASH = "–";
const known = (v) => typeof v === "number" && Number.isFinite(v);
export { known };

export function num(v, decimals = 1) {
  if (!known(v)) return DASH;
  const text = v.toFixed(decimals);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
}

// "+7.4 kW": the sign is the direction, + charges the car.
export function kw(w, decimals = 1) {
  if (!known(w)) return DASH;
  const shown = num(w / 1000, decimals);
  return `${Number(w.toFixed(0)) > 0 && !/^0[.0]*$/.test(shown) ? "+" : ""}${shown} kW`;
}

export function ohms(v) {
  if (!known(v)) return DASH;
  if (v >= 1e6) return `${num(v / 1e6, 1)} MΩ`;
  return `${num(v / 1e3, v < 10e3 ? 1 : 0)} kΩ`;
}

export function seconds(s) {
  if (!known(s)) return DASH;
  if (s < 10) return `${num(s, s < 1 ? 2 : 1)} s`;
  if (s < 120) return `${num(s, 0)} s`;
  const m = Math.floor(s / 60);
  return m < 120 ? `${m} min` : `${Math.floor(m / 60)} h ${m % 60} min`;
}

export function age(s) {
  if (!known(s)) return "";
  if (s < 0.1) return "now";
  return s < 100 ? `${num(s, 1)} s ago` : `${seconds(s)} ago`;
}

export function kwh(wh) {
  return known(wh) ? `${num(wh / 1000, wh < 100000 ? 2 : 1)} kWh` : DASH;
}

const two = (n) => String(n).padStart(2, "0");
export function clock(wallS, withDate = false) {
  if (!known(wallS)) return DASH;
  const d = new Date(wallS * 1000);
  const time = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  return withDate ? `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${time}` : time;
}

// "limited to 4.2 kW by volt-watt ...": without the power that stands beside it anyway.
export const limiter = (text) => (text ?? "").replace(/^limited to \S+ kW by /, "");

// How old what is shown is: its age at the charger and how long ago it came here.
export function messageAge() {
  const m = store.message;
  if (!m || m.age_s === null) return NaN;
  return m.age_s + (performance.now() - store.got) / 1000;
}

export function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
