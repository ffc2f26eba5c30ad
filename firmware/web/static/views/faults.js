import { html } from "../core.js";
export function Faults() { return html`<section class="card"><p>Faults</p></section>`; }
