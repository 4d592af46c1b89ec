// Teams and organizations: who leads them, what they spend, which keys are on their account.
import { html, useState } from "../app/lib.js";
import { all, get, spending, useLoad } from "../app/api.js";
import { go, link, place } from "../app/router.js";
import { ago, count, exact, limits, money } from "../app/format.js";
import { may, session } from "../app/state.js";
import { Badge, Button, Card, Cli, Drawer, Empty, Loaded, Page } from "../app/ui.js";
import { kinds, useApi } from "../app/form.js";
import { Table } from "../app/table.js";
import { BudgetBar, useBudgets } from "./budget.js";
import { Editor } from "./resources.js";

const KINDS = {
  team: { plural: "teams", title: "Teams", none: "No team yet", empty: "People and programs that work on one thing. Keys of a team share its limits and its budget, and who leads it looks after them without seeing the rest." },
  organization: { plural: "organizations", title: "Organizations", none: "No organization yet", empty: "The account of accounts: teams and people belong to one, and its budget and limits hold for all of them together." },
};

export function Teams({ parts }) {
  const wanted = place.value.search.get("kind");
  const of = KINDS[wanted] ? wanted : "team";
  const { plural, title } = KINDS[of];
  const state = useLoad(`all ${plural}`, () => all(`/admin/${plural}`));
  const api = useApi();
  const [making, setMaking] = useState(false);
  const kind = api.data && kinds(api.data).find((one) => one.plural === plural);
  const add = html`<${Button} needs="accounts:write" tone="main" icon="plus" onClick=${() => setMaking(true)}>New ${of}<//>`;
  return html`<${Page} title=${title} about="On whose account keys are used, and what they may spend together." actions=${add} cli=${`gatewayctl get ${plural}`}>
    <nav class="tabs" aria-label="Kinds">${Object.entries(KINDS).map(([name, { title }]) => html`<a href=${link("teams", name === "team" ? {} : { kind: name })} aria-current=${name === of ? "page" : undefined}>${title}</a>`)}</nav>
    <${Loaded} state=${state}>${(items) => html`<${List} key=${of} of=${of} items=${items} name=${parts[0]} api=${api.data} kind=${kind} add=${add} onChange=${state.reload} />`}<//>
    ${making && kind && html`<${Editor} api=${api.data} kind=${kind} start=${{ name: "" }} onClose=${() => (setMaking(false), state.reload())} />`}
  <//>`;
}

/** A team-admin sees no people, and is told who leads the teams. */
const leaders = async (teams) => (await Promise.all(teams.map(async ({ name }) => (await get(`/admin/teams/${encodeURIComponent(name)}/leaders`)).data.map((user) => ({ name: user, spec: { leads: [name] } }))))).flat();

function List({ of, items, name, api, kind, add, onChange }) {
  const { title, none, empty } = KINDS[of];
  const budgets = useBudgets();
  const used = useLoad(`month by ${of}`, () => (may("spend:read") ? spending(of, 30) : null));
  const keys = useLoad("keys", () => (may("keys:read") ? all("/admin/keys") : []));
  const users = useLoad(`people of ${of}`, () => (session.value?.role === "team-admin" ? leaders(items) : all("/admin/users")));
  const teams = useLoad("all teams", () => all("/admin/teams"));
  const facts = (item) => {
    const rows = used.data?.data.filter((row) => row.name === item.name) ?? [];
    const within = of === "team" ? [item.name] : (teams.data ?? []).filter((team) => team.spec.organization === item.name).map((team) => team.name);
    return {
      cost: rows.reduce((sum, row) => sum + row.cost_nano_usd, 0),
      requests: rows.reduce((sum, row) => sum + row.requests, 0),
      budget: budgets.data?.find((row) => row.kind === of && row.name === item.name),
      keys: (keys.data ?? []).filter((key) => within.includes(key.team)),
      people: (users.data ?? []).filter((user) => (of === "team" ? user.spec.leads?.includes(item.name) : user.spec.organization === item.name)),
      teams: of === "organization" ? within : [],
    };
  };
  const columns = [
    { name: "Name", cell: (item) => html`<span class="strong">${item.name}</span>${item.spec.organization && html`<span class="sub">of ${item.spec.organization}</span>`}` },
    { name: "State", cell: (item) => (item.spec.enabled === false ? html`<${Badge} tone="warn" dot>disabled<//>` : html`<${Badge} tone="good" dot>active<//>`) },
    { name: of === "team" ? "Led by" : "Teams", cell: (item) => (of === "team" ? facts(item).people.map((user) => user.name) : facts(item).teams).join(", ") || html`<span class="quiet">–</span>` },
    { name: "Budget", className: "wide budget-cell", cell: (item) => (facts(item).budget ? html`<${BudgetBar} row=${facts(item).budget} plain />` : html`<span class="quiet">${budgets.data ? "none of its own" : "…"}</span>`) },
    { name: "Keys", num: true, cell: (item) => facts(item).keys.length },
    { name: "Cost, 30 d", num: true, cell: (item) => money(facts(item).cost) },
  ];
  const selected = name && items.find((item) => item.name === name);
  const where = of === "team" ? [] : [{ kind: of }];
  return html`<${Card} flush><${Table} label=${title} rows=${items} id=${(item) => item.id} columns=${columns} onOpen=${(item) => go("teams", item.name, ...where)} empty=${html`<${Empty} title=${none} action=${add}>${empty}<//>`} /><//>
    ${selected && html`<${One} of=${of} item=${selected} facts=${facts(selected)} api=${api} kind=${kind} onChange=${() => (onChange(), budgets.reload())} onClose=${() => go("teams", ...where)} />`}`;
}

function One({ of, item, facts, api, kind, onChange, onClose }) {
  const [editing, setEditing] = useState(false);
  return html`<${Drawer} title=${item.name} onClose=${onClose}>
    <div class="row wrap">${item.spec.enabled === false ? html`<${Badge} tone="warn" dot>disabled<//>` : html`<${Badge} tone="good" dot>active<//>`}<span class="grow"></span><${Button} needs="accounts:write" onClick=${() => setEditing(true)}>Edit<//></div>
    <${Card} title="Budget">${facts.budget ? html`<${BudgetBar} row=${facts.budget} plain onChange=${onChange} />` : html`<p class="quiet note">None of its own: what its keys spend is bounded by their own budgets, by ${of === "team" && item.spec.organization ? "its organization's and by the shared ones" : "the shared ones"} only.</p>`}<//>
    <${Card} title="Last 30 days" aside=${may("spend:read") && html`<a class="note" href=${link("cost", { by: of })}>Compare</a>`}><dl class="facts"><dt>Requests</dt><dd>${count(facts.requests)}</dd><dt>Cost</dt><dd>${money(facts.cost)}</dd></dl><//>
    <${Card} title="What it is"><dl class="facts">
      ${of === "team" && html`<dt>Organization</dt><dd>${item.spec.organization ? html`<a href=${link("teams", item.spec.organization, { kind: "organization" })}>${item.spec.organization}</a>` : "–"}</dd>`}
      ${of === "organization" && html`<dt>Teams</dt><dd>${facts.teams.map((team, at) => html`${at > 0 && ", "}<a href=${link("teams", team)}>${team}</a>`)}${facts.teams.length === 0 && "–"}</dd>`}
      <dt>${of === "team" ? "Led by" : "People"}</dt><dd>${facts.people.map((user, at) => html`${at > 0 && ", "}${user.id ? html`<a href=${link("people", user.name)}>${user.name}</a>` : user.name}`)}${facts.people.length === 0 && "–"}</dd>
      <dt>Limits</dt><dd>${limits(item.spec.limits) || "none"}</dd>
      <dt>Made</dt><dd>${exact(item.created_at)}</dd><dt>Changed</dt><dd>${ago(item.updated_at)}</dd></dl><//>
    ${may("keys:read") && html`<${Card} title="Keys">${facts.keys.length === 0 ? html`<p class="quiet note">None is on this account. It is chosen when <a href=${link("keys")}>a key is made</a>.</p>` : html`<ul class="stack tight">${facts.keys.map((key) => html`<li class="row"><a class="grow" href=${link("keys", key.name)}>${key.name}</a>${!key.enabled && html`<${Badge} tone="warn">disabled<//>`}<span class="quiet note">${key.last_used_at ? `used ${ago(key.last_used_at)}` : "never used"}</span></li>`)}</ul>`}<//>`}
    <${Cli} command=${`gatewayctl describe ${of} ${item.name}`} />
    ${editing && kind && html`<${Editor} api=${api} kind=${kind} item=${item} onClose=${() => (setEditing(false), onChange())} />`}
  <//>`;
}
