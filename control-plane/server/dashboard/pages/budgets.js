// Money: what may be spent by whom, what is spent of it, what nodes hold, and what it will be when the window ends.
import { html } from "../app/lib.js";
import { all, useLoad } from "../app/api.js";
import { link } from "../app/router.js";
import { ago, exact, money, percent } from "../app/format.js";
import { Badge, Card, Empty, Loaded, Page, Stat } from "../app/ui.js";
import { titled } from "../app/form.js";

const EVERY_MS = 5000;
const PLURALS = { budget: "budgets", organization: "organizations", team: "teams", user: "users", key: "keys" };
const WORDS = { budget: "Shared budgets", organization: "Organizations", team: "Teams", user: "Users", key: "Keys" };

export function Budgets() {
  const state = useLoad("budget use", () => all("/admin/usage/budgets"), EVERY_MS);
  const actions = html`<a class="button" href=${link("resources", "teams")}>Teams</a><a class="button main" href=${link("resources", "budgets")}>Shared budgets</a>`;
  return html`<${Page} title="Budgets" about="Nodes hold a part of each budget ahead, so that no request waits for the control plane and nothing is spent twice." actions=${actions} cli="gatewayctl budgets">
    <${Loaded} state=${state}>${(rows) => (rows.length === 0 ? html`<${Card}><${Empty} title="No budgets yet" action=${html`<a class="button main" href=${link("resources", "budgets")}>Make one</a>`}>
        A budget is an amount in a window of time: of a key, a user, a team or an organization, or one of its own that several share. When it is spent, requests are refused, or somebody is told.<//><//>`
      : html`<${Glance} rows=${rows} />${Object.keys(WORDS).map((kind) => html`<${Group} key=${kind} kind=${kind} rows=${rows.filter((row) => row.kind === kind)} />`)}`)}<//>
  <//>`;
}

/** How it stands: over, heading over, or well. */
function standing(row) {
  if (row.spent_nano_usd >= row.amount_nano_usd) return ["bad", row.on_exhausted === "refuse" ? "spent: requests are refused" : "spent: requests go on"];
  if ((row.forecast_nano_usd ?? 0) > row.amount_nano_usd) return ["warn", "will not last"];
  return row.spent_nano_usd > row.amount_nano_usd * 0.8 ? ["warn", "nearly spent"] : ["good", "well"];
}

function Glance({ rows }) {
  const sum = (field) => rows.reduce((all, row) => all + (row[field] ?? 0), 0);
  const by = (tone) => rows.filter((row) => standing(row)[0] === tone).length;
  return html`<${Card} flush><div class="stats">
    <${Stat} name="Budgets" figure=${rows.length} under="of all kinds" />
    <${Stat} name="Spent" figure=${by("bad")} tone=${by("bad") ? "bad" : ""} under="nothing left in their window" />
    <${Stat} name="To be watched" figure=${by("warn")} tone=${by("warn") ? "warn" : ""} under="will not last, or nearly spent" />
    <${Stat} name="Held by nodes" figure=${money(sum("leased_nano_usd"))} under="ahead of requests to come" />
  </div><//>`;
}

function Group({ kind, rows }) {
  if (!rows.length) return null;
  return html`<${Card} title=${WORDS[kind]}><div class="stack">${rows.map((row) => html`<${One} key=${row.name} row=${row} />`)}</div><//>`;
}

function One({ row }) {
  const [tone, text] = standing(row);
  const most = Math.max(row.amount_nano_usd, row.forecast_nano_usd ?? 0, row.spent_nano_usd + row.leased_nano_usd, 1);
  const share = (nano) => `${Math.min(100, (nano / most) * 100)}%`;
  const to = row.kind === "key" ? link("keys", row.name) : link("resources", PLURALS[row.kind], row.name);
  const colour = { good: "--good", warn: "--warn", bad: "--bad" }[tone];
  const label = `${percent(row.spent_nano_usd, row.amount_nano_usd)} of ${money(row.amount_nano_usd)} is spent`;
  return html`<div class="stack tight">
    <div class="row wrap"><a class="strong" href=${to}>${row.name}</a><${Badge} tone=${tone} dot>${text}<//><span class="grow"></span>
      <span class="note"><b>${money(row.spent_nano_usd)}</b> <span class="quiet">of ${money(row.amount_nano_usd)} · ${titled(row.window)}</span></span></div>
    <div class="budget" role="img" aria-label=${label}>
      <i style=${{ width: share(row.spent_nano_usd), background: `var(${colour})` }}></i><i class="held" style=${{ width: share(row.leased_nano_usd), background: `var(${colour})` }}></i>
      <b style=${{ left: share(row.amount_nano_usd) }} title="The amount"></b>${row.forecast_nano_usd !== null && html`<em style=${{ left: share(row.forecast_nano_usd) }} title="The forecast"></em>`}</div>
    <div class="row wrap small quiet"><span>${label}</span>${row.leased_nano_usd > 0 && html`<span>${money(row.leased_nano_usd)} held by nodes</span>`}
      ${row.forecast_nano_usd !== null && html`<span>forecast ${money(row.forecast_nano_usd)}</span>`}${row.window_end && html`<span title=${exact(row.window_end)}>window ends ${ago(row.window_end)}</span>`}</div></div>`;
}
