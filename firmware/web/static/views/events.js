import { html } from "../core.js";
export function Events() { return html`<section class="card"><p>Events</p></section>`; }
