import { html } from "../core.js";
export function Scope() { return html`<section class="card"><p>Scope</p></section>`; }
