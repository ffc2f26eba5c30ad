import { html } from "../core.js";
export function Parameters() { return html`<section class="card"><p>Parameters</p></section>`; }
