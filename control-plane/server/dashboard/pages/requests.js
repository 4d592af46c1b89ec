// Requests as they went: filters, live tail, and one of them in detail.
import { html, useEffect, useRef, useState } from "../app/lib.js";
import { all, follow, get, query, useLoad } from "../app/api.js";
import { go, place, setSearch } from "../app/router.js";
import { ago, count, exact, money, span, time, tokens, when } from "../app/format.js";
import { Badge, Button, Card, Empty, Page, Select, Wrong } from "../app/ui.js";
import { Table } from "../app/table.js";
import { RequestDrawer } from "./request.js";

const PAGE = 100;
const MOST_LIVE = 300;
const FRESH_MS = 2000;

export function Requests({ parts }) {
  const filter = Object.fromEntries(place.value.search);
  const wanted = query(filter);
  const [rows, setRows] = useState({ for: null, data: [], next: null });
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(true);
  const [live, setLive] = useState("off");
  const arrived = useRef(new Map());
  const providers = useLoad("provider names", async () => (await all("/admin/providers")).map((item) => item.name));

  const load = async (after) => {
    setBusy(true);
    try {
      const page = await get(`/admin/logs${query({ ...filter, limit: PAGE, after })}`);
      setRows((before) => ({ for: wanted, data: after ? [...before.data, ...page.data] : page.data, next: page.next }));
      setError(null);
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  useEffect(() => void load(), [wanted]);
  useEffect(() => {
    if (live === "off") return undefined;
    const stream = follow(filter, (record) => {
      arrived.current.set(record.id, Date.now());
      setRows((before) => (before.data.some((row) => row.id === record.id) ? before : { ...before, data: [record, ...before.data].slice(0, MOST_LIVE) }));
    }, setLive);
    return () => stream.stop();
  }, [live === "off", wanted]);

  const set = (name) => (value) => setSearch({ ...filter, [name]: value });
  const actions = html`<${Button} tone=${live === "off" ? "" : "main"} icon="live" aria-pressed=${live !== "off"} onClick=${() => setLive(live === "off" ? "waiting" : "off")}>${live === "off" ? "Live tail" : live === "open" ? "Live" : "Connecting…"}<//>`;
  const isFiltered = Object.values(filter).some(Boolean);
  const cli = `gatewayctl logs${live === "off" ? "" : " --follow"}${["key", "model", "provider", "status"].map((name) => (filter[name] ? ` --${name} ${filter[name]}` : "")).join("")}`;
  const empty = isFiltered
    ? html`<${Empty} title="No request fits" action=${html`<${Button} onClick=${() => setSearch({})}>Take the filters away<//>`}>Names must be written in full: a model as clients call it, a key by its name or id.<//>`
    : html`<${Empty} title="No requests yet" action=${html`<a class="button main" href="#/start">Send a first one</a>`}>Each request that reaches a node leaves a record here: who asked, where it went, how long each step took and what it cost. Never a prompt, never an answer, unless <code>log_bodies</code> asks for that.<//>`;
  return html`<${Page} title="Requests" about="One record for each request, newest first. Open one for its waterfall and the decisions behind it." actions=${actions} cli=${cli}>
    <div class="filters">
      <${Lookup} onOpen=${(id) => go("requests", id, filter)} />
      <${Filter} name="Model" value=${filter.model} onValue=${set("model")} />
      <${Filter} name="Key" value=${filter.key} onValue=${set("key")} />
      <${Select} className="auto" aria-label="Provider" value=${filter.provider ?? ""} onValue=${set("provider")} options=${[["", "Any provider"], ...(providers.data ?? []).map((name) => [name, name])]} />
      <${Select} className="auto" aria-label="Status" value=${filter.status ?? ""} onValue=${set("status")} options=${[["", "Any status"], ...["200", "400", "401", "403", "404", "408", "413", "415", "422", "429", "499", "500", "502", "503", "504"].map((status) => [status, status])]} />
      ${filter.since && html`<${Badge} tone="accent">since ${when(filter.since)}<//>`}
      ${isFiltered && html`<${Button} tone="plain small" icon="close" onClick=${() => setSearch({})}>Clear<//>`}
    </div>
    <${Wrong} error=${error} retry=${() => load()} />
    <${Card} flush foot=${rows.next && html`<${Button} busy=${busy} onClick=${() => load(rows.next)}>Older requests<//>`}>
      ${rows.for === null && busy ? html`<div class="body" aria-busy="true" aria-label="loading"><div class="skeleton"></div></div>` : html`<${Table} label="Requests" rows=${rows.data} id=${(row) => row.id} columns=${COLUMNS} empty=${empty}
        onOpen=${(row) => go("requests", row.id, filter)} fresh=${(row) => Date.now() - (arrived.current.get(row.id) ?? 0) < FRESH_MS} />`}
    <//>
    ${parts[0] && html`<${RequestDrawer} id=${parts[0]} known=${rows.data.find((row) => row.id === parts[0])} onClose=${() => go("requests", filter)} />`}
  <//>`;
}

function Filter({ name, value, onValue }) {
  const [text, setText] = useState(value ?? "");
  useEffect(() => setText(value ?? ""), [value]);
  return html`<input class="input" placeholder=${name} aria-label=${name} value=${text} onInput=${(event) => setText(event.target.value)} onChange=${(event) => onValue(event.target.value.trim())} />`;
}

function Lookup({ onOpen }) {
  const onKey = (event) => event.key === "Enter" && event.target.value.trim() && onOpen(event.target.value.trim());
  return html`<input class="input search mono" data-search placeholder="Request id  ( / )" aria-label="Open a request by its id" onKeyDown=${onKey} />`;
}

export function tone(record) {
  if (record.status >= 500 || ["upstream_cut", "failed", "timeout"].includes(record.ending)) return "bad";
  return record.status >= 400 || record.ending === "client_gone" ? "warn" : "good";
}

export const ENDINGS = { finished: "finished", client_gone: "client left", upstream_cut: "cut off upstream", refused: "refused", failed: "failed", timeout: "timed out" };

const COLUMNS = [
  { name: "Time", className: "nowrap", cell: (row) => html`<span title=${exact(row.started_unix_ms)}>${time(row.started_unix_ms)}</span><span class="sub">${ago(row.started_unix_ms)}</span>` },
  { name: "Status", cell: (row) => html`<${Badge} tone=${tone(row)} dot>${row.status}<//>${row.ending !== "finished" && html`<span class="sub">${row.error_code || (ENDINGS[row.ending] ?? row.ending)}</span>`}` },
  { name: "Model", cell: (row) => html`<span class="strong">${row.model || row.path}</span><span class="sub">${row.provider ? `${row.provider}/${row.upstream_model}` : row.method}${row.attempts.length > 1 ? ` · ${row.attempts.length} attempts` : ""}</span>` },
  { name: "Key", className: "nowrap", cell: (row) => row.key_name || "–" },
  { name: "Kind", className: "nowrap", cell: (row) => html`<span class="quiet">${row.dialect}${row.stream ? " · stream" : ""}</span>` },
  { name: "First byte", num: true, cell: (row) => (row.attempts.length ? span(row.first_byte_us) : "–") },
  { name: "Total", num: true, cell: (row) => span(row.total_us) },
  { name: "Tokens", num: true, cell: (row) => (row.tokens ? count(tokens(row.tokens)) : "–") },
  { name: "Cost", num: true, cell: (row) => (row.priced ? money(row.cost_nano_usd) : "–") },
];
