// People and programs: who they are, what they may do, who of them is signed in.
import { html, useState } from "../app/lib.js";
import { all, get, remove, spending, useLoad } from "../app/api.js";
import { go, link, place, setSearch } from "../app/router.js";
import { ago, exact, money } from "../app/format.js";
import { may, notify, session } from "../app/state.js";
import { Badge, Button, Card, Confirm, Empty, Loaded, Message, Page } from "../app/ui.js";
import { resolve, useApi } from "../app/form.js";
import { Table } from "../app/table.js";
import { NewPerson, PersonDrawer } from "./person.js";

export const ROLE_TONES = { owner: "accent", admin: "accent", operator: "info", billing: "info", viewer: "", "team-admin": "info" };

/** `[name, description]` of each role, as the API describes them. */
export const roles = (api) => (api ? (resolve(api, { $ref: "#/components/schemas/PersonRole" }).oneOf ?? []).map((one) => [one.const, one.description]) : []);

export const Role = ({ name }) => (name ? html`<${Badge} tone=${ROLE_TONES[name] ?? ""}>${name.replace("-", " ")}<//>` : html`<span class="quiet">keys only</span>`);

const sum = (rows, name) => rows?.data.filter((row) => row.name === name).reduce((all, row) => all + row.cost_nano_usd, 0) ?? 0;

export function People({ parts }) {
  const tab = place.value.search.get("tab") ?? "everybody";
  const state = useLoad("all users", () => all("/admin/users"));
  const sessions = useLoad("sessions", async () => (may("people:read") ? (await get("/admin/sessions")).data : []));
  const api = useApi();
  const [making, setMaking] = useState(false);
  const add = html`<${Button} needs="accounts:write" tone="main" icon="plus" onClick=${() => setMaking(true)}>New person<//>`;
  const tabs = [["everybody", "Everybody"], ...(may("people:read") ? [["sessions", "Signed in"]] : []), ["roles", "Roles"]];
  const reload = () => {
    state.reload();
    sessions.reload();
  };
  return html`<${Page} title="People" about="Who signs in here and what they may do, and programs with an account of their own. Applications need no person: they have keys." actions=${add} cli="gatewayctl get users">
    <nav class="tabs" aria-label="Parts">${tabs.map(([name, text]) => html`<a href=${link("people", name === "everybody" ? {} : { tab: name })} aria-current=${name === tab ? "page" : undefined}>${text}</a>`)}</nav>
    ${tab === "sessions" ? html`<${Loaded} state=${sessions}>${(rows) => html`<${Sessions} rows=${rows} onEnd=${sessions.reload} />`}<//>`
      : tab === "roles" ? html`<${Loaded} state=${api}>${(api) => html`<${Roles} api=${api} people=${state.data ?? []} />`}<//>`
      : html`<${Loaded} state=${state}>${(people) => html`<${Everybody} people=${people} sessions=${sessions.data ?? []} add=${add} />
        ${parts[0] && html`<${PersonDrawer} key=${parts[0]} item=${people.find((one) => one.name === parts[0])} name=${parts[0]} sessions=${(sessions.data ?? []).filter((one) => one.user === parts[0])} api=${api.data} onChange=${reload} onClose=${() => go("people")} />`}`}<//>`}
    ${making && html`<${NewPerson} api=${api.data} onClose=${() => (setMaking(false), reload())} />`}
  <//>`;
}

function Everybody({ people, sessions, add }) {
  const wanted = place.value.search.get("find") ?? "";
  const keys = useLoad("keys", () => (may("keys:read") ? all("/admin/keys") : []));
  const used = useLoad("month by user", () => (may("spend:read") ? spending("user", 30) : null));
  const rows = people.filter((one) => [one.name, one.spec.email, one.spec.role, one.spec.organization].some((text) => (text ?? "").toLowerCase().includes(wanted.toLowerCase())));
  const columns = [
    { name: "Name", cell: (one) => html`<span class="strong">${one.name}</span><span class="sub">${one.spec.email ?? (one.spec.service_account ? "a program" : "no address: cannot sign in")}</span>` },
    { name: "Role", cell: (one) => html`<${Role} name=${one.spec.role} />${one.spec.leads?.length > 0 && html`<span class="sub">leads ${one.spec.leads.join(", ")}</span>`}` },
    { name: "State", cell: (one) => html`<${Standing} item=${one} n=${sessions.filter((row) => row.user === one.name).length} />` },
    { name: "Organization", cell: (one) => one.spec.organization ?? "–" },
    { name: "Keys", num: true, cell: (one) => keys.data?.filter((key) => key.user === one.name).length ?? "–" },
    { name: "Cost, 30 d", num: true, cell: (one) => money(sum(used.data, one.name)) },
  ];
  const empty = wanted
    ? html`<${Empty} title="Nobody fits" action=${html`<${Button} onClick=${() => setSearch({})}>Show everybody<//>`}>Names, addresses, roles and organizations are looked through.<//>`
    : html`<${Empty} title="Nobody but the master key yet" action=${add}>Give each colleague an account: then the audit log says who did what, each role sees what it needs, and who leaves is locked out at once.<//>`;
  return html`<div class="filters"><input class="input search" data-search placeholder="Find a person  ( / )" aria-label="Find a person" value=${wanted} onInput=${(event) => setSearch({ find: event.target.value })} /></div>
    <${Card} flush><${Table} label="People" rows=${rows} id=${(one) => one.id} columns=${columns} onOpen=${(one) => go("people", one.name)} empty=${empty} /><//>`;
}

export function Standing({ item, n }) {
  if (item.spec.enabled === false) return html`<${Badge} tone="warn" dot>disabled<//>`;
  if (n > 0) return html`<${Badge} tone="good" dot>signed in<//>`;
  return html`<${Badge} dot>${item.spec.service_account ? "program" : "active"}<//>`;
}

/** `own`: those of who looks, which takes no permission to end. */
export function Sessions({ rows, onEnd, short, own }) {
  const [ending, setEnding] = useState(null);
  const isThis = (row) => row.began_at === session.value?.began_at && row.actor === session.value?.actor;
  const columns = [
    { name: "Who", cell: (row) => html`<span class="strong">${row.actor.replace(/^user:/, "")}</span>${isThis(row) && html` <${Badge} tone="accent">this browser<//>`}` },
    { name: "Signed in", cell: (row) => html`<span title=${exact(row.began_at)}>${ago(row.began_at)}</span>` },
    { name: "Ends", cell: (row) => html`<span title=${exact(row.expires_at)}>${ago(row.expires_at)}</span>` },
    ...(short || own ? [] : [{ name: "Session", cell: (row) => html`<span class="mono small quiet">${row.id}</span>` }]),
    { name: "", num: true, className: "plain", cell: (row) => !isThis(row) && html`<${Button} needs=${own ? undefined : "people:write"} tone="small" label=${`Sign out ${row.actor}, ${row.id}`} onClick=${() => setEnding(row)}>Sign out<//>` },
  ];
  return html`<${Card} flush title=${own ? "Where you are signed in" : short ? "Signed in" : undefined}><${Table} label="Sessions" rows=${rows} id=${(row) => row.id} columns=${columns} empty=${html`<${Empty} title="Nobody is signed in">A session begins with a sign-in, lasts 12 hours, and ends at once when it is ended here.<//>`} /><//>
    ${ending && html`<${Confirm} title=${`Sign out ${ending.actor.replace(/^user:/, "")}?`} verb="Sign out" onClose=${() => setEnding(null)} act=${async () => {
      await remove(`/admin/session${own ? "/own" : "s"}/${ending.id}`);
      notify("That session has ended, on every replica");
      onEnd();
    }}><p>${own ? "The next click there asks to sign in again. If it was not you, change your password." : "Their next click asks them to sign in again. To keep them out, disable the account or give it another password."}</p><//>`}`;
}

function Roles({ api, people }) {
  const columns = [
    { name: "Role", cell: ([name]) => html`<${Role} name=${name} />` },
    { name: "What it may do", className: "wide", cell: ([, text]) => text },
    { name: "Who has it", cell: ([name]) => people.filter((one) => one.spec.role === name).map((one, at) => html`${at > 0 && ", "}<a href=${link("people", one.name)}>${one.name}</a>`) },
  ];
  return html`<${Message}><p>A role is looked up at each request: whoever loses theirs has lost it at once. With single sign-on, groups of the identity provider give roles (<a href=${link("settings")}>settings</a>, <code>oidc</code>).</p><//>
    <${Card} flush><${Table} label="Roles" rows=${roles(api)} id=${([name]) => name} columns=${columns} empty=${html`<${Empty} title="This gateway names no roles" />`} /><//>`;
}
