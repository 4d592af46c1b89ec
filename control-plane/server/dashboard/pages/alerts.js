// Alerts: whom the control plane tells when budgets reach a part of their amount, how that goes, what was told.
import { html, useState } from "../app/lib.js";
import { get, patch, post, useLoad } from "../app/api.js";
import { link } from "../app/router.js";
import { ago, count, exact, money } from "../app/format.js";
import { notify } from "../app/state.js";
import { Badge, Button, Card, Choice, Confirm, Dialog, Empty, Loaded, Message, Page, Text, Wrong, sentence } from "../app/ui.js";
import { Table } from "../app/table.js";
import { home, standing, useBudgets } from "./budget.js";

const EVERY_MS = 10_000;
const KINDS = [["slack", "Slack, or who takes the same"], ["webhook", "A webhook, signed"]];

export function Alerts() {
  const state = useLoad("alerts", () => get("/admin/alerts"), EVERY_MS);
  const [making, setMaking] = useState(false);
  const add = html`<${Button} needs="config:write" tone="main" icon="plus" onClick=${() => setMaking(true)}>New destination<//>`;
  return html`<${Page} title="Alerts" about="A budget that reaches a part of its amount (80 % and 100 %, where it says nothing else) is told of once in each window. Who acknowledges one sees to it: what still waits to be sent of it is not sent." actions=${html`<a class="button" href=${link("budgets")}>Budgets</a>${add}`} cli="gatewayctl alerts">
    <${Loaded} state=${state}>${({ destinations, alerts }) => html`<${Destinations} rows=${destinations} add=${add} onChange=${state.reload} /><${Told} rows=${alerts} hasDestinations=${destinations.length > 0} onChange=${state.reload} />`}<//>
    ${making && html`<${NewDestination} onClose=${() => (setMaking(false), state.reload())} />`}
  <//>`;
}

function Health({ row }) {
  if (!row.kind) return html`<${Badge}>taken away<//>`;
  if (row.error && row.waiting > 0) return html`<${Badge} tone="bad" dot>not taken<//>`;
  if (row.delivered > 0) return html`<${Badge} tone="good" dot>delivered<//>`;
  return html`<${Badge} dot>nothing sent yet<//>`;
}

function Destinations({ rows, add, onChange }) {
  const [trial, setTrial] = useState({ busy: null, done: null });
  const [leaving, setLeaving] = useState(null);
  const test = async (destination) => {
    setTrial({ busy: destination, done: null });
    try {
      const { data } = await post("/admin/alerts/test", { destination });
      setTrial({ busy: null, done: data[0] });
    } catch (error) {
      setTrial({ busy: null, done: { destination, delivered: false, error: error.message, took_ms: 0 } });
    }
    onChange();
  };
  const columns = [
    { name: "Destination", cell: (row) => html`<span class="strong">${row.name}</span><span class="sub">${KINDS.find(([kind]) => kind === row.kind)?.[1] ?? "not configured any more"}</span>` },
    { name: "State", className: "wide", cell: (row) => html`<${Health} row=${row} />${row.error && html`<span class="small bad block">${sentence(brief(row.error))}</span>`}` },
    { name: "Waiting", num: true, cell: (row) => count(row.waiting) },
    { name: "Lost", num: true, cell: (row) => count(row.lost) },
    { name: "Delivered", num: true, cell: (row) => html`${count(row.delivered)}${row.last_delivered_at && html`<span class="sub">${ago(row.last_delivered_at)}</span>`}` },
    { name: "", num: true, className: "plain nowrap", cell: (row) => row.kind && html`<span class="row tight ends"><${Button} needs="money:write" tone="small" busy=${trial.busy === row.name} onClick=${() => test(row.name)} aria-label=${`Send a test to ${row.name}`}>Send a test<//> <${Button} needs="config:write" tone="plain small" icon="close" label=${`Take ${row.name} away`} onClick=${() => setLeaving(row.name)} /></span>` },
  ];
  return html`<${Card} flush title="Who is told"><${Table} label="Destinations" rows=${rows} id=${(row) => row.name} columns=${columns}
      empty=${html`<${Empty} title="Nobody is told yet" action=${add}>A channel in Slack, or an address of yours that takes JSON. Until there is one, budgets that run out show here and on the page of budgets only.<//>`} /><//>
    ${trial.done && html`<${Message} tone=${trial.done.delivered ? "good" : "bad"}><p><b>${trial.done.destination}</b> ${trial.done.delivered ? `took the test in ${trial.done.took_ms} ms.` : `did not take the test. ${sentence(brief(trial.done.error ?? ""))}`}</p><//>`}
    ${leaving && html`<${Confirm} title=${`Take ${leaving} away?`} verb="Take it away" onClose=${() => setLeaving(null)} act=${async () => {
      await changed((destinations) => destinations.filter((one) => one.name !== leaving));
      onChange();
    }}><p>It is told no more. What waits for it is dropped.</p><//>`}`;
}

/** The first and the last link of a chain of causes. */
const brief = (error) => {
  const causes = error.split(": ");
  return causes.length > 2 ? `${causes[0]}: ${causes.at(-1)}` : error;
};

/** Writes the list anew; secrets that are left out stay what they are. */
async function changed(change) {
  const { spec } = await get("/admin/settings");
  return patch("/admin/settings?wait=applied&timeout=10s", { alerts: change(spec.alerts ?? []) });
}

function NewDestination({ onClose }) {
  const [value, setValue] = useState({ name: "", kind: "slack", url: "", secret: "" });
  const [state, setState] = useState({ busy: false, error: null });
  const set = (name) => (one) => setValue({ ...value, [name]: one });
  const save = async () => {
    setState({ busy: true, error: null });
    try {
      const { secret, ...rest } = value;
      await changed((destinations) => [...destinations, { ...rest, ...(value.kind === "webhook" && { secret }) }]);
      notify(`${value.name} is told from now on; send it a test`);
      onClose();
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  const wrong = (field) => state.error?.problems?.find((problem) => problem.path?.endsWith(`[${value.name}].${field}`))?.message;
  const ready = value.name.trim() && value.url.trim() && (value.kind === "slack" || value.secret.length >= 16);
  return html`<${Dialog} title="New destination" onClose=${onClose} foot=${html`<${Button} onClick=${onClose}>Cancel<//><${Button} needs="config:write" tone="main" busy=${state.busy} disabled=${!ready} onClick=${save}>Create<//>`}>
    <${Text} label="Name" value=${value.name} onValue=${set("name")} placeholder="ops" autofocus />
    <${Choice} label="Kind" value=${value.kind} onValue=${set("kind")} options=${KINDS} />
    <${Text} label="Address" mono value=${value.url} onValue=${set("url")} wrong=${wrong("url")} placeholder=${value.kind === "slack" ? "https://hooks.slack.com/services/…" : "https://example.com/alerts"} hint="It is kept as a secret, and not shown again." />
    ${value.kind === "webhook" && html`<${Text} label="Secret" type="password" value=${value.secret} onValue=${set("secret")} wrong=${wrong("secret")} hint="16 characters or more. It signs what is sent, in x-gateway-signature." />`}
    <${Wrong} error=${state.error} /><//>`;
}

/** `kind/name` of a budget, as alerts write it. */
const owner = (budget) => [budget.slice(0, budget.indexOf("/")), budget.slice(budget.indexOf("/") + 1)];

function Told({ rows, hasDestinations, onChange }) {
  const budgets = useBudgets();
  const [state, setState] = useState({ busy: null, error: null });
  const acknowledge = async (row) => {
    setState({ busy: row.id, error: null });
    try {
      await post(`/admin/alerts/${encodeURIComponent(row.id)}/acknowledge`, {});
      setState({ busy: null, error: null });
      onChange();
    } catch (error) {
      setState({ busy: null, error });
    }
  };
  const columns = [
    { name: "Budget", cell: (row) => html`<a class="strong" href=${home(...owner(row.budget))}>${owner(row.budget)[1]}</a><span class="sub">${owner(row.budget)[0] === "budget" ? "shared" : owner(row.budget)[0]}</span>` },
    { name: "Reached", cell: (row) => html`<${Badge} tone=${row.percent >= 100 ? "bad" : "warn"}>${row.percent} %<//>` },
    { name: "When", cell: (row) => html`<span title=${exact(row.at)}>${ago(row.at)}</span>` },
    { name: "Now", className: "wide", cell: (row) => html`<${Now} use=${budgets.data?.find((one) => `${one.kind}/${one.name}` === row.budget)} />` },
    { name: "Seen to by", className: "nowrap", cell: (row) => (row.acknowledged_by
      ? html`<span class="strong">${row.acknowledged_by.replace(/^(user|oidc):/, "")}</span><span class="sub" title=${exact(row.acknowledged_at)}>${ago(row.acknowledged_at)}</span>`
      : html`<${Button} needs="money:write" tone="small" busy=${state.busy === row.id} onClick=${() => acknowledge(row)} aria-label=${`Acknowledge ${row.percent} % of ${owner(row.budget)[1]}`}>Acknowledge<//>`) },
  ];
  return html`<${Wrong} error=${state.error} /><${Card} flush title="What was told"><${Table} label="Alerts" rows=${rows} id=${(row) => row.id} columns=${columns}
    empty=${html`<${Empty} title="No budget has reached its marks">${hasDestinations ? "The last 50 alerts stand here. Whether a destination takes them, a test tells." : "Give a key, a team or a person a budget, and it is watched from then on."}<//>`} /><//>`;
}

function Now({ use }) {
  if (!use) return html`<span class="quiet">there is no such budget any more</span>`;
  const [tone, text] = standing(use);
  return html`<span class="row tight wrap"><${Badge} tone=${tone} dot>${text}<//><span class="note quiet nowrap">${money(use.spent_nano_usd)} of ${money(use.amount_nano_usd)}</span></span>`;
}
