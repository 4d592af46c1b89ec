// One budget: how it stands, as a bar, and another amount for a while.
import { html, useState } from "../app/lib.js";
import { all, patch, useLoad } from "../app/api.js";
import { link } from "../app/router.js";
import { ago, exact, money, percent, when } from "../app/format.js";
import { may, notify, writing } from "../app/state.js";
import { Badge, Button, Choice, Dialog, Message, Text, Wrong } from "../app/ui.js";
import { titled } from "../app/form.js";

export const PLURALS = { budget: "budgets", organization: "organizations", team: "teams", user: "users", key: "keys" };
const PAGES = { organization: ["teams", "organization"], team: ["teams"], user: ["people"], key: ["keys"], budget: ["resources", "budgets"] };

/** Where whoever has it is looked after. */
export const home = (kind, name) => (kind === "organization" ? link("teams", name, { kind }) : link(...PAGES[kind], name));

const EVERY_MS = 5000;
export const useBudgets = () => useLoad("budget use", () => (may("money:read") ? all("/admin/usage/budgets") : []), EVERY_MS);
export const useBudget = (kind, name) => useBudgets().data?.find((row) => row.kind === kind && row.name === name);

/** How it stands: over, heading over, or well. */
export function standing(row) {
  if (row.spent_nano_usd >= row.amount_nano_usd) return ["bad", row.on_exhausted === "alert" ? "spent: requests go on" : "spent: requests are refused"];
  if ((row.forecast_nano_usd ?? 0) > row.amount_nano_usd) return ["warn", "will not last"];
  return row.spent_nano_usd > row.amount_nano_usd * 0.8 ? ["warn", "nearly spent"] : ["good", "on track"];
}

/** `plain` leaves the name out, where it stands above already. */
export function BudgetBar({ row, plain, onChange }) {
  const [raising, setRaising] = useState(false);
  const [tone, text] = standing(row);
  const most = Math.max(row.amount_nano_usd, row.forecast_nano_usd ?? 0, row.spent_nano_usd + row.leased_nano_usd, 1);
  const share = (nano) => `${Math.min(100, (nano / most) * 100)}%`;
  const colour = { good: "--good", warn: "--warn", bad: "--bad" }[tone];
  const label = `${percent(row.spent_nano_usd, row.amount_nano_usd)} of ${money(row.amount_nano_usd)} is spent`;
  const forecast = row.forecast_nano_usd ?? null;
  return html`<div class="stack tight" data-budget=${`${row.kind}/${row.name}`}>
    <div class="row wrap">${!plain && html`<a class="strong" href=${home(row.kind, row.name)}>${row.name}</a>`}<${Badge} tone=${tone} dot>${text}<//>${row.override_until && html`<${Badge} tone="accent">raised until ${when(row.override_until)}<//>`}<span class="grow"></span>
      <span class="note nowrap"><b>${money(row.spent_nano_usd)}</b> <span class="quiet">of ${money(row.amount_nano_usd)} · ${titled(row.window)}</span></span></div>
    <div class="budget" role="img" aria-label=${label}>
      <i style=${{ width: share(row.spent_nano_usd), background: `var(${colour})` }}></i><i class="held" style=${{ width: share(row.leased_nano_usd), background: `var(${colour})` }}></i>
      ${most > row.amount_nano_usd && html`<b style=${{ left: share(row.amount_nano_usd) }} title="The amount"></b>`}${forecast > row.spent_nano_usd && html`<em style=${{ left: share(forecast) }} title=${`Forecast: ${money(forecast)}`}></em>`}</div>
    <div class="row wrap small quiet"><span>${percent(row.spent_nano_usd, row.amount_nano_usd)} spent</span>${row.leased_nano_usd > 0 && html`<span>${money(row.leased_nano_usd)} held by nodes</span>`}
      ${forecast !== null && html`<span>forecast ${money(forecast)}</span>`}${row.window_end && html`<span title=${exact(row.window_end)}>starts anew ${ago(row.window_end)}</span>`}<span class="grow"></span>
      ${onChange && may(writing(PLURALS[row.kind])) && html`<${Button} tone="small" label=${`Raise ${row.name} for a while`} onClick=${() => setRaising(true)}>${row.override_until ? "Change" : "Raise"}<//>`}</div>
    ${raising && html`<${Raise} row=${row} onClose=${() => (setRaising(false), onChange())} />`}</div>`;
}

const HOUR_MS = 3_600_000;
const LIVES = [[1, "An hour"], [24, "A day"], [168, "A week"]];

/** Another amount until a moment; then the budget's own holds again by itself. */
function Raise({ row, onClose }) {
  const [amount, setAmount] = useState(String(Math.ceil((row.amount_nano_usd / 1e9) * 1.5)));
  const [life, setLife] = useState("24");
  const [state, setState] = useState({ busy: false, error: null });
  const write = async (override, said) => {
    setState({ busy: true, error: null });
    try {
      const body = row.kind === "budget" ? { override } : { budget: { override } };
      await patch(`/admin/${PLURALS[row.kind]}/${encodeURIComponent(row.name)}?wait=applied&timeout=10s`, body);
      notify(said);
      onClose();
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  const left = row.window_end && new Date(row.window_end) > new Date() ? [["window", `Until the window ends (${when(row.window_end)})`]] : [];
  const until = () => (life === "window" ? row.window_end : new Date(Date.now() + Number(life) * HOUR_MS).toISOString());
  const set = () => write({ amount_usd: amount.trim(), expires_at: until() }, `${row.name} may spend $${amount.trim()} for a while`);
  const foot = html`${row.override_until && html`<${Button} tone="plain danger" busy=${state.busy} onClick=${() => write(null, `${row.name} is back at its own amount`)}>End it now<//><span class="grow"></span>`}
    <${Button} onClick=${onClose}>Cancel<//><${Button} needs=${writing(PLURALS[row.kind])} tone="main" busy=${state.busy} disabled=${!(Number(amount) > 0)} onClick=${set}>Raise<//>`;
  return html`<${Dialog} title=${`Raise ${row.name} for a while`} onClose=${onClose} foot=${foot}>
    <p class="quiet">Another amount in this window, on every node at once. When the time is over, its own amount holds again by itself.</p>
    <${Text} label="Amount in US dollars" inputmode="decimal" value=${amount} onValue=${setAmount} hint=${`${money(row.spent_nano_usd)} is spent; now it may be ${money(row.amount_nano_usd)}.`} wrong=${amount && !(Number(amount) > 0) ? "a number above 0" : undefined} autofocus />
    <${Choice} label="For" value=${life} onValue=${setLife} options=${[...LIVES.map(([hours, text]) => [String(hours), text]), ...left]} />
    ${Number(amount) * 1e9 <= row.spent_nano_usd && Number(amount) > 0 && html`<${Message} tone="warn"><p>That is no more than is spent already.</p><//>`}
    <${Wrong} error=${state.error} /><//>`;
}
