// Who changed what: an append-only list whose rows are chained by hashes.
import { html, useEffect, useState } from "../app/lib.js";
import { get, query } from "../app/api.js";
import { ago, exact } from "../app/format.js";
import { Badge, Button, Card, Drawer, Empty, Page, Wrong } from "../app/ui.js";
import { Table } from "../app/table.js";
import { write } from "../app/yaml.js";

const TONES = { create: "good", delete: "bad", revoke: "bad", rollback: "warn", update: "info", rotate: "info", sign_in: "accent", sign_out: "", invite: "accent", accept_invitation: "accent", set_password: "warn", change_password: "warn" };

export function Audit() {
  const [state, setState] = useState({ rows: [], next: null, error: null, busy: true });
  const [search, setSearch] = useState("");
  const [open, setOpen] = useState(null);
  const load = async (after) => {
    setState((before) => ({ ...before, busy: true }));
    try {
      const page = await get(`/admin/audit${query({ limit: 200, after })}`);
      setState((before) => ({ rows: after ? [...before.rows, ...page.data] : page.data, next: page.next, error: null, busy: false }));
    } catch (error) {
      setState((before) => ({ ...before, error, busy: false }));
    }
  };
  useEffect(() => void load(), []);
  const wanted = search.toLowerCase();
  const rows = state.rows.filter((row) => [row.actor, row.action, row.kind, row.name, row.ip].some((text) => String(text).toLowerCase().includes(wanted)));
  const columns = [
    { name: "When", className: "nowrap", cell: (row) => html`<span title=${exact(row.at)}>${ago(row.at)}</span>` },
    { name: "Who", cell: (row) => html`<span class="strong">${row.actor}</span><span class="sub">${row.ip}</span>` },
    { name: "Did", cell: (row) => html`<${Badge} tone=${TONES[row.action] ?? ""}>${row.action.replaceAll("_", " ")}<//>` },
    { name: "To", cell: (row) => html`<span class="quiet">${row.kind.replaceAll("_", " ")}</span> ${row.name}` },
    { name: "No.", num: true, cell: (row) => row.seq },
  ];
  return html`<${Page} title="Audit log" about="Every change and every sign-in, kept for more than a year. Each row is chained to the one before: one that was altered or taken out shows." cli="curl -H 'Authorization: Bearer gw_master_…' …/admin/audit">
    <div class="filters"><input class="input search" data-search placeholder="Find in what is loaded  ( / )" aria-label="Find" value=${search} onInput=${(event) => setSearch(event.target.value)} /></div>
    <${Wrong} error=${state.error} retry=${() => load()} />
    <${Card} flush foot=${state.next && html`<${Button} busy=${state.busy} onClick=${() => load(state.next)}>Older entries<//>`}><${Table} label="Audit log" rows=${rows} id=${(row) => row.seq} columns=${columns} onOpen=${setOpen}
      empty=${!state.busy && html`<${Empty} title="Nothing fits">Who, what and where it came from are looked through.<//>`} /><//>
    ${open && html`<${Entry} row=${open} onClose=${() => setOpen(null)} />`}
  <//>`;
}

const lines = (document) => (document ? write(document).split("\n") : []);

function Entry({ row, onClose }) {
  const [before, after] = [lines(row.before), lines(row.after)];
  const gone = before.filter((line) => !after.includes(line));
  const come = after.filter((line) => !before.includes(line));
  return html`<${Drawer} title=${`${row.action.replaceAll("_", " ")} ${row.kind} ${row.name}`} onClose=${onClose}>
    <${Card} title="What differs">${gone.length + come.length ? html`<div class="diff">${gone.map((line) => html`<div class="minus">− ${line}</div>`)}${come.map((line) => html`<div class="plus">+ ${line}</div>`)}</div>` : html`<p class="quiet note">No document goes with it.</p>`}<//>
    <${Card} title="Entry"><dl class="facts"><dt>When</dt><dd>${exact(row.at)}</dd><dt>Who</dt><dd>${row.actor}</dd><dt>From</dt><dd>${row.ip || "this process"}</dd><dt>Request</dt><dd class="mono small">${row.request_id || "–"}</dd><dt>Hash</dt><dd class="mono small">${row.hash}</dd></dl><//>
  <//>`;
}
