// A past window by the prices of now: the difference is told first, and written when somebody says so.
import { html, useState } from "../app/lib.js";
import { post } from "../app/api.js";
import { count, money } from "../app/format.js";
import { notify } from "../app/state.js";
import { Bar, Button, Cli, Dialog, Message, Text, Wrong } from "../app/ui.js";

const day = (ms) => new Date(ms).toISOString().slice(0, 10);
const DAY_MS = 86_400_000;
const NONE = { requests: 0, changed: 0, kept: 0, difference_nano_usd: 0, before: 0, after: 0, unpriced: 0, budgets: "" };

const added = (sum, piece) => ({
  requests: sum.requests + piece.requests,
  changed: sum.changed + piece.changed,
  kept: sum.kept + piece.kept,
  difference_nano_usd: sum.difference_nano_usd + piece.difference_nano_usd,
  before: sum.before + piece.before.cost_nano_usd,
  after: sum.after + piece.after.cost_nano_usd,
  unpriced: sum.unpriced + piece.after.unpriced_requests,
  budgets: piece.budgets,
});

export function Reprice({ onClose }) {
  const [window, setWindow] = useState({ from: day(Date.now() - 29 * DAY_MS), to: day(Date.now()), model: "", provider: "" });
  const [state, setState] = useState({ busy: false, error: null, told: null });
  const set = (name) => (value) => {
    setWindow({ ...window, [name]: value });
    setState({ busy: false, error: null, told: null });
  };
  /** Piece by piece: a piece that is done again changes nothing twice. */
  const run = async (dryRun) => {
    setState((before) => ({ ...before, busy: true, error: null }));
    try {
      let sum = NONE;
      let after;
      do {
        const piece = await post("/admin/spend/reprice", { ...window, dry_run: dryRun, ...(after && { after }) });
        sum = added(sum, piece);
        after = piece.next;
      } while (after);
      if (dryRun) return setState({ busy: false, error: null, told: sum });
      notify(`${count(sum.changed)} requests have another cost now`);
      return onClose(true);
    } catch (error) {
      return setState((before) => ({ ...before, busy: false, error }));
    }
  };
  const { told } = state;
  const foot = html`<${Button} onClick=${() => onClose(false)}>Cancel<//><${Button} busy=${state.busy} tone=${told ? "" : "main"} onClick=${() => run(true)}>What would differ?<//>
    ${told?.changed > 0 && html`<${Button} needs="money:write" tone="main danger" busy=${state.busy} onClick=${() => run(false)}>Write it<//>`}`;
  return html`<${Dialog} title="A past window by the prices of now" onClose=${() => onClose(false)} foot=${foot}>
    <p class="quiet">For prices that were missing or wrong when requests ran. Nothing is changed before you have seen the difference; budgets stay as they are.</p>
    <div class="grid two"><${Text} label="From" type="date" value=${window.from} onValue=${set("from")} /><${Text} label="To, included" type="date" value=${window.to} onValue=${set("to")} /></div>
    <div class="grid two"><${Text} label="Model (optional)" value=${window.model} onValue=${set("model")} /><${Text} label="Provider (optional)" value=${window.provider} onValue=${set("provider")} /></div>
    ${told && html`<${Told} told=${told} />`}
    <${Wrong} error=${state.error} />
    <${Cli} command=${`gatewayctl spend reprice --from ${window.from} --to ${window.to}`} />
  <//>`;
}

function Told({ told }) {
  if (told.changed === 0) return html`<${Message} tone="good"><p>Nothing would differ: ${count(told.requests)} requests cost what they cost.</p><//>`;
  const most = Math.max(told.before, told.after, 1);
  return html`<dl class="facts">
      <dt>Requests</dt><dd>${count(told.requests)}, of which ${count(told.changed)} would cost something else</dd>
      <dt>Cost now</dt><dd>${money(told.before)} <${Bar} share=${told.before / most} label="" /></dd>
      <dt>It would be</dt><dd>${money(told.after)} <${Bar} share=${told.after / most} tone="warn" label="" /></dd>
      <dt>Difference</dt><dd class="strong">${told.difference_nano_usd < 0 ? "−" : "+"}${money(Math.abs(told.difference_nano_usd))}</dd>
      ${told.kept > 0 && html`<dt>Left alone</dt><dd>${count(told.kept)}, whose price nobody here can tell</dd>`}
      ${told.unpriced > 0 && html`<dt>Still without a price</dt><dd>${count(told.unpriced)}</dd>`}</dl>
    <${Message}><p>Budgets stay ${told.budgets}.</p><//>`;
}
