import { html } from "../core.js";
export function Power() { return html`<section class="card"><p>Power</p></section>`; }
