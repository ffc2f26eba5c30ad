import { html } from "../core.js";
export function Protection() { return html`<section class="card"><p>Protection</p></section>`; }
