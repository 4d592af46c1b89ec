// Virtual keys: made, shown once, limited, disabled, revoked.
import { html, useState } from "../app/lib.js";
import { all, patch, post, query, spending, useLoad } from "../app/api.js";
import { go, link } from "../app/router.js";
import { ago, count, exact, limits, money, when } from "../app/format.js";
import { may, secrets, shownUrl } from "../app/state.js";
import { Badge, Button, Card, Choice, Cli, Code, Confirm, CopyButton, Dialog, Drawer, Empty, Loaded, Message, Meter, Page, Text, Wrong } from "../app/ui.js";
import { Fields, Words, kinds, titled, useApi } from "../app/form.js";
import { Table } from "../app/table.js";
import { BudgetBar, home, useBudget } from "./budget.js";
import { Editor, destroy } from "./resources.js";

const LIVES = [["", "Never"], ["1h", "In an hour"], ["24h", "In a day"], ["7d", "In 7 days"], ["30d", "In 30 days"], ["90d", "In 90 days"]];
const HOURS = { "1h": 1, "24h": 24, "7d": 168, "30d": 720, "90d": 2160 };

/** What the form for a new key shows by itself, and what few keys need. */
const SHOWN = ["name", "secret", "models", "expires_at", "enabled", "tags", "metadata", "passthrough"];
const RARE = ["roles", "endpoints", "ips", "revoke_mode", "unpriced"];

export const expiry = (life) => (life ? new Date(Date.now() + HOURS[life] * 3_600_000).toISOString() : undefined);

export function Keys({ parts }) {
  const state = useLoad("keys", () => all("/admin/keys"));
  const used = useLoad("month by key", () => spending("key", 30));
  const api = useApi();
  const [making, setMaking] = useState(false);
  const [search, setSearch] = useState("");
  const usage = new Map();
  used.data?.data.forEach((row) => {
    const sum = usage.get(row.name) ?? { requests: 0, cost: 0, last: "" };
    usage.set(row.name, { requests: sum.requests + row.requests, cost: sum.cost + row.cost_nano_usd, last: row.day > sum.last ? row.day : sum.last });
  });
  const columns = [
    { name: "Name", cell: (key) => html`<span class="strong">${key.name}</span><span class="sub">${owned(key)}</span>` },
    { name: "State", cell: (key) => html`<${State} item=${key} />` },
    { name: "Models", cell: (key) => html`<span class="cut">${key.models.join(", ") === "*" ? "all" : key.models.join(", ") || "none"}</span>` },
    { name: "Limits", cell: (key) => limits(key.limits) || html`<span class="quiet">none</span>` },
    { name: "Budget", cell: (key) => (key.budget ? `$${key.budget.amount_usd} ${key.budget.window}` : html`<span class="quiet">none</span>`) },
    { name: "Requests, 30 d", num: true, cell: (key) => count(usage.get(key.name)?.requests ?? 0) },
    { name: "Cost, 30 d", num: true, cell: (key) => money(usage.get(key.name)?.cost ?? 0) },
    { name: "Last used", num: true, cell: (key) => (key.last_used_at ? html`<span title=${exact(key.last_used_at)}>${ago(key.last_used_at)}</span>` : html`<span class="quiet">never</span>`) },
  ];
  const close = () => {
    setMaking(false);
    state.reload();
  };
  const add = html`<${Button} needs="keys:write" tone="main" icon="plus" onClick=${() => setMaking(true)}>New key<//>`;
  return html`<${Page} title="Keys" about="What applications present. A key's secret is shown once, when it is made; only a keyed digest of it is stored." actions=${add} cli="gatewayctl keys list">
    <div class="filters"><input class="input search" data-search placeholder="Find by name, team, tag …  ( / )" aria-label="Find keys" value=${search} onInput=${(event) => setSearch(event.target.value)} /></div>
    <${Loaded} state=${state}>${(keys) => {
      const wanted = search.toLowerCase();
      const rows = keys.filter((key) => [key.name, key.id, key.team ?? "", key.user ?? "", ...key.tags, ...key.models].some((text) => text.toLowerCase().includes(wanted)));
      const selected = parts[0] && keys.find((key) => key.name === parts[0] || key.id === parts[0]);
      return html`<${Card} flush><${Table} label="Keys" rows=${rows} id=${(key) => key.id} columns=${columns} onOpen=${(key) => go("keys", key.name)}
          empty=${html`<${Empty} title=${search ? "No key fits" : "No keys yet"} action=${!search && add}>${search ? "Names, teams, people, ids, tags and models are looked through." : "An application needs one to call the gateway. Give each application its own: then each can be limited, watched and revoked by itself."}<//>`} /><//>
        ${selected && html`<${KeyDrawer} key=${selected.id} item=${selected} api=${api.data} usage=${usage.get(selected.name)} onChange=${state.reload} onClose=${() => go("keys")} />`}`;
    }}<//>
    ${making && html`<${NewKey} api=${api.data} onClose=${close} />`}
  <//>`;
}

function State({ item }) {
  if (!item.enabled) return html`<${Badge} tone="warn" dot>disabled<//>`;
  if (item.expires_at && new Date(item.expires_at) < new Date()) return html`<${Badge} tone="bad" dot>expired<//>`;
  return html`<${Badge} tone="good" dot>active<//>${item.expires_at && html`<span class="sub">until ${when(item.expires_at)}</span>`}`;
}

/** On whose account it is. */
const owned = (key) => [key.team && `team ${key.team}`, key.user].filter(Boolean).join(", ") || "on nobody's account";

function NewKey({ api, onClose }) {
  const [value, setValue] = useState({ name: "" });
  const [life, setLife] = useState("");
  const [state, setState] = useState({ busy: false, error: null });
  const [made, setMade] = useState(null);
  const models = useLoad("model names", async () => (may("config:read") ? (await all("/admin/models")).map((model) => model.name) : []));
  const create = async () => {
    setState({ busy: true, error: null });
    try {
      const began = performance.now();
      const answer = await post(`/admin/keys${query({ wait: "applied", timeout: "10s" })}`, { ...value, expires_at: expiry(life) });
      secrets.value = { ...secrets.value, [answer.name]: answer.key };
      setMade({ ...answer, took: performance.now() - began });
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  if (made) {
    return html`<${Dialog} title=${`Key ${made.name}`} onClose=${onClose} foot=${html`<a class="button" href=${link("playground")} onClick=${onClose}>Try it<//><${Button} tone="main" onClick=${onClose}>I have kept it<//>`}>
      <${Message} tone="warn"><p>This is the only time that it is shown. Put it where your application reads its secrets.</p><//>
      <div class="secret"><code data-secret>${made.key}</code><${CopyButton} text=${made.key} /></div>
      <${Meter} rollout=${made.change.rollout} took=${made.took} />
      <${Code} text=${`curl ${shownUrl}/v1/models -H "Authorization: Bearer ${made.key}"`} wrapped />
    <//>`;
  }
  const wrong = (path) => state.error?.problems?.find((problem) => problem.path === path)?.message;
  const schema = api && kinds(api).find((kind) => kind.plural === "keys")?.schema;
  const set = (name) => (one) => setValue({ ...value, [name]: one });
  const foot = html`<${Button} onClick=${onClose}>Cancel<//><${Button} needs="keys:write" tone="main" busy=${state.busy} disabled=${!value.name.trim()} onClick=${create}>Create key<//>`;
  return html`<${Dialog} title="New key" onClose=${onClose} foot=${foot}>
    <${Text} label="Name" hint="Who will use it: an application, a person, a pipeline." value=${value.name} onValue=${set("name")} wrong=${wrong("name")} placeholder="checkout-service" autofocus />
    <${Words} label="Models it may use" hint=${models.data?.length ? `Empty: all. Known: ${models.data.slice(0, 6).join(", ")}${models.data.length > 6 ? " …" : ""}` : "Empty: all. A star stands for any characters."} wrong=${wrong("models")} value=${value.models} onValue=${set("models")} />
    <div class="grid two"><${Choice} label="Expires" value=${life} onValue=${setLife} options=${LIVES} />
      <${Words} label="Tags (optional)" hint="Usage can be told apart by them." value=${value.tags} onValue=${set("tags")} /></div>
    ${schema && html`<${Fields} api=${api} schema=${schema} value=${value} onValue=${setValue} skip=${[...SHOWN, ...RARE]} problems=${state.error?.problems} />
      <details class="group"><summary class="strong note">Roles, operations, addresses</summary><div class="inner"><${Fields} api=${api} schema=${schema} value=${value} onValue=${setValue} skip=${Object.keys(schema.properties).filter((name) => !RARE.includes(name))} problems=${state.error?.problems} /></div></details>`}
    <${Wrong} error=${state.error} />
    <${Cli} command=${`gatewayctl keys create ${value.name || "NAME"}`} />
  <//>`;
}

function KeyDrawer({ item, api, usage, onChange, onClose }) {
  const [asking, setAsking] = useState(null);
  const [editing, setEditing] = useState(false);
  const [rotating, setRotating] = useState(false);
  const [change, setChange] = useState(null);
  const [error, setError] = useState(null);
  const [gone, setGone] = useState(false);
  const toggle = async () => {
    const began = performance.now();
    try {
      const answer = await patch(`/admin/keys/${item.id}${query({ wait: "applied", timeout: "10s" })}`, { enabled: !item.enabled });
      setChange({ rollout: answer.change.rollout, took: performance.now() - began });
      setError(null);
      onChange();
    } catch (failure) {
      setError(failure);
    }
  };
  const revoke = async () => {
    const answer = await destroy("keys", item.name);
    setChange({ rollout: answer.change?.rollout, took: answer.took });
    setGone(true);
  };
  const kind = api && kinds(api).find((one) => one.plural === "keys");
  const budget = useBudget("key", item.name);
  const leave = () => {
    onChange();
    onClose();
  };
  return html`<${Drawer} title=${item.name} onClose=${leave}>
    ${gone && html`<${Message} tone="bad"><p><b>Revoked.</b> Whoever presents this key is refused; it cannot be brought back.</p><//>`}
    ${change && html`<${Card} title=${gone ? "Denied on the nodes" : "On the nodes"}><${Meter} rollout=${change.rollout} took=${change.took} /><//>`}
    <${Wrong} error=${error} />
    ${!gone && html`<div class="row wrap"><${State} item=${item} /><span class="grow"></span>
      <${Button} needs="keys:write" onClick=${() => setEditing(true)}>Edit<//>${api?.paths["/admin/keys/{id}/rotate"] && html`<${Button} needs="keys:write" onClick=${() => setRotating(true)}>Rotate<//>`}<${Button} needs="keys:write" onClick=${toggle}>${item.enabled ? "Disable" : "Enable"}<//><${Button} needs="keys:write" tone="danger" onClick=${() => setAsking(true)}>Revoke<//></div>`}
    <${Card} title="What it may do"><dl class="facts">
      <dt>Models</dt><dd>${item.models.join(", ") === "*" ? "all" : item.models.join(", ") || "none"}</dd>
      <dt>Limits</dt><dd>${limits(item.limits) || "none"}</dd>
      ${[["Roles", "roles"], ["Operations", "endpoints"], ["Addresses", "ips"], ["Passthrough", "passthrough"]].filter(([, field]) => item[field]?.length > 0).map(([text, field]) => html`<dt>${text}</dt><dd>${item[field].join(", ")}</dd>`)}
      <dt>Expires</dt><dd>${item.expires_at ? `${exact(item.expires_at)} (${ago(item.expires_at)})` : "never"}</dd>
      ${item.earlier_secret_until && new Date(item.earlier_secret_until) > new Date() && html`<dt>Earlier secret</dt><dd>goes on until ${when(item.earlier_secret_until)} (${ago(item.earlier_secret_until)})</dd>`}
      ${["team", "user"].filter((owner) => item[owner]).map((owner) => html`<dt>${titled(owner)}</dt><dd><a href=${home(owner, item[owner])}>${item[owner]}</a></dd>`)}
      <dt>Tags</dt><dd>${item.tags.join(", ") || "–"}</dd>
      ${Object.entries(item.metadata).map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}
      <dt>Id</dt><dd class="mono small">${item.id}</dd>
      <dt>Made</dt><dd>${exact(item.created_at)}</dd>
    </dl><//>
    ${budget && html`<${Card} title="Budget"><${BudgetBar} row=${budget} plain onChange=${onChange} /><//>`}
    <${Card} title="Last 30 days" aside=${may("requests:read") && html`<a class="note" href=${link("requests", { key: item.name })}>Its requests</a>`}><dl class="facts">
      <dt>Requests</dt><dd>${count(usage?.requests ?? 0)}</dd><dt>Cost</dt><dd>${money(usage?.cost ?? 0)}</dd><dt>Last used</dt><dd>${item.last_used_at ? `${exact(item.last_used_at)} (${ago(item.last_used_at)})` : "never"}</dd></dl><//>
    <${Cli} command=${gone ? `gatewayctl keys revoke ${item.name}` : `gatewayctl keys describe ${item.name}`} />
    ${editing && kind && html`<${Editor} api=${api} kind=${kind} item=${item} skip=${["secret"]} onClose=${() => (setEditing(false), onChange())} />`}
    ${rotating && html`<${Rotate} item=${item} onClose=${() => (setRotating(false), onChange())} />`}
    ${asking && html`<${Confirm} title=${`Revoke ${item.name}?`} verb="Revoke" onClose=${() => setAsking(null)} act=${revoke}><p>Every node refuses it from the moment it hears of it, in well under a second. This cannot be undone: an application that still uses it needs a new key.</p><//>`}
  <//>`;
}

const OVERLAPS = [["24h", "A day"], ["1h", "An hour"], ["7d", "A week"], ["0s", "Not at all: it has leaked"]];

/** A new secret for the same key; the old one goes on for a while, so that nothing stops while it is exchanged. */
function Rotate({ item, onClose }) {
  const [overlap, setOverlap] = useState("24h");
  const [state, setState] = useState({ busy: false, error: null, made: null });
  const rotate = async () => {
    setState({ busy: true, error: null, made: null });
    try {
      const began = performance.now();
      const made = await post(`/admin/keys/${item.id}/rotate${query({ wait: "applied", timeout: "10s" })}`, { overlap });
      secrets.value = { ...secrets.value, [made.name]: made.key };
      setState({ busy: false, error: null, made: { ...made, took: performance.now() - began } });
    } catch (error) {
      setState({ busy: false, error, made: null });
    }
  };
  if (state.made) {
    return html`<${Dialog} title=${`New secret of ${item.name}`} onClose=${onClose} foot=${html`<${Button} tone="main" onClick=${onClose}>I have kept it<//>`}>
      <${Message} tone="warn"><p>It is shown this once. ${overlap === "0s" ? "The one before is refused." : `The one before goes on until ${when(Date.now() + HOURS[overlap] * 3_600_000)}.`}</p><//>
      <div class="secret"><code data-secret>${state.made.key}</code><${CopyButton} text=${state.made.key} /></div>
      <${Meter} rollout=${state.made.change.rollout} took=${state.made.took} /><//>`;
  }
  return html`<${Dialog} title=${`Rotate ${item.name}`} onClose=${onClose} foot=${html`<${Button} onClick=${onClose}>Cancel<//><${Button} needs="keys:write" tone="main" busy=${state.busy} onClick=${rotate}>Make a new secret<//>`}>
    <p class="quiet">Name, limits and usage stay. The application gets the new secret; the old one works meanwhile.</p>
    <${Choice} label="The old one goes on for" value=${overlap} onValue=${setOverlap} options=${OVERLAPS} /><${Wrong} error=${state.error} /><//>`;
}
