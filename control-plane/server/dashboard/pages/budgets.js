// Money: what may be spent by whom, what is spent of it, what nodes hold, and what it will be when the window ends.
import { html, useState } from "../app/lib.js";
import { link } from "../app/router.js";
import { money } from "../app/format.js";
import { writing } from "../app/state.js";
import { Button, Card, Empty, Loaded, Page, Stat } from "../app/ui.js";
import { kinds, useApi } from "../app/form.js";
import { BudgetBar, standing, useBudgets } from "./budget.js";
import { Editor } from "./resources.js";

const WORDS = { budget: "Shared budgets", organization: "Organizations", team: "Teams", user: "People", key: "Keys" };
const ORDER = { bad: 0, warn: 1, good: 2 };

export function Budgets() {
  const state = useBudgets();
  const api = useApi();
  const [making, setMaking] = useState(false);
  const kind = api.data && kinds(api.data).find((one) => one.plural === "budgets");
  const add = html`<${Button} needs=${writing("budgets")} tone="main" icon="plus" onClick=${() => setMaking(true)}>Shared budget<//>`;
  const empty = html`<${Card}><${Empty} title="No budgets yet" action=${add}>
    A budget is an amount in a window of time. Give one to a <a href=${link("keys")}>key</a>, a <a href=${link("people")}>person</a> or a <a href=${link("teams")}>team</a> where they are looked after, or make one here that several share. When it is spent, requests are refused, or somebody is told.<//><//>`;
  return html`<${Page} title="Budgets" about="Nodes hold a part of each budget ahead, so that no request waits for the control plane and nothing is spent twice." actions=${html`<a class="button" href=${link("alerts")}>Alerts</a>${add}`} cli="gatewayctl budgets">
    <${Loaded} state=${state}>${(rows) => (rows.length === 0 ? empty
      : html`<${Glance} rows=${rows} />${Object.keys(WORDS).map((kind) => html`<${Group} key=${kind} kind=${kind} rows=${rows.filter((row) => row.kind === kind)} onChange=${state.reload} />`)}
        <ul class="legend"><li><i class="key-spent"></i>spent</li><li><i class="key-held"></i>held by nodes for requests to come</li><li><i class="key-forecast"></i>forecast for the end of the window</li></ul>`)}<//>
    ${making && kind && html`<${Editor} api=${api.data} kind=${kind} start=${{ name: "", match: { keys: ["*"] }, amount_usd: "", window: "monthly" }} onClose=${() => (setMaking(false), state.reload())} />`}
  <//>`;
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

/** What needs somebody stands first. */
function Group({ kind, rows, onChange }) {
  if (!rows.length) return null;
  const sorted = [...rows].sort((a, b) => ORDER[standing(a)[0]] - ORDER[standing(b)[0]] || a.name.localeCompare(b.name));
  return html`<${Card} title=${WORDS[kind]}><div class="stack ruled">${sorted.map((row) => html`<${BudgetBar} key=${row.name} row=${row} onChange=${onChange} />`)}</div><//>`;
}
