// Requests as they went: filters, live tail, and one of them in detail.
import { html, useEffect, useRef, useState } from "../app/lib.js";
import { all, follow, get, query, useLoad } from "../app/api.js";
import { go, place, setSearch } from "../app/router.js";
import { ago, count, exact, money, span, time, tokens, when } from "../app/format.js";
import { Badge, Button, Card, Empty, Page, Wrong } from "../app/ui.js";
import { Table } from "../app/table.js";
import { RequestDrawer } from "./request.js";

const PAGE = 100;
const MOST_LIVE = 300;
const FRESH_MS = 2000;

/** What the server takes, with values where there are few. */
const FIELDS = {
  status: ["4xx", "5xx", ">=400", "429", "499", "200"],
  model: [], provider: [], key: [], team: [], user: [], organization: [], tag: [], session: [], error_code: [],
  ending: ["finished", "client_gone", "upstream_cut", "refused", "failed", "timeout"],
  cache: ["hit", "miss", "bypass", "unfit"],
  stream: ["true", "false"],
  lane: ["pass", "translate"],
  min_duration: ["1s", "10s", "1m"],
  min_cost: ["0.01", "0.1", "1"],
  route: [], upstream_model: [], node: [], revision: [], tier: [], dialect: [], trace: [], id: [],
};
const QUICK = [["Failed", "status:5xx"], ["Refused", "status:4xx"], ["Cached", "cache:hit"], ["Slow", "min_duration:10s"]];

export function Requests({ parts }) {
  const filter = Object.fromEntries(place.value.search);
  const wanted = query(filter);
  const [rows, setRows] = useState({ for: null, data: [], next: null, page: null });
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(true);
  const [live, setLive] = useState("off");
  const arrived = useRef(new Map());
  const providers = useLoad("provider names", async () => (await all("/admin/providers")).map((item) => item.name));

  const load = async (after) => {
    setBusy(true);
    try {
      const page = await get(`/admin/logs${query({ ...filter, limit: PAGE, after })}`);
      setRows((before) => ({ for: wanted, data: after ? [...before.data, ...page.data] : page.data, next: page.next, page }));
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

  const actions = html`<${Button} tone=${live === "off" ? "" : "main"} icon="live" aria-pressed=${live !== "off"} onClick=${() => setLive(live === "off" ? "waiting" : "off")}>${live === "off" ? "Live tail" : live === "open" ? "Live" : "Connecting…"}<//>`;
  const isFiltered = Object.values(filter).some(Boolean);
  const line = lineOf(filter);
  const look = (search) => setSearch({ search, since: filter.since, until: filter.until });
  const cli = `gatewayctl logs${live === "off" ? "" : " --follow"}${parted(line).map((part) => (/^[\w:.,@/-]+$/.test(part) ? ` ${part}` : ` '${part.replaceAll("'", "'\\''")}'`)).join("")}`;
  const far = rows.page?.searched_since;
  const empty = isFiltered
    ? html`<${Empty} title=${rows.next ? `Nothing since ${when(far)}` : "No request fits"} action=${rows.next ? html`<${Button} busy=${busy} onClick=${() => load(rows.next)}>Look further back<//>` : html`<${Button} onClick=${() => setSearch({})}>Take the filters away<//>`}>Fields must be written in full: a model as clients call it, a key by its name or id. Words are found by how they begin.<//>`
    : html`<${Empty} title="No requests yet" action=${html`<a class="button main" href="#/start">Send a first one</a>`}>Each request that reaches a node leaves a record here: who asked, where it went, how long each step took and what it cost. Never a prompt, never an answer, unless <code>log_bodies</code> asks for that.<//>`;
  return html`<${Page} title="Requests" about="One record for each request, newest first. Open one for its waterfall and the decisions behind it." actions=${actions} cli=${cli}>
    <div class="filters">
      <${Search} line=${line} onLine=${look} values=${{ ...FIELDS, provider: providers.data ?? [] }} />
      ${QUICK.map(([name, part]) => html`<${Button} key=${part} tone="small" aria-pressed=${parted(line).includes(part)} onClick=${() => look(toggled(line, part))}>${name}<//>`)}
      ${filter.since && html`<${Badge} tone="accent">since ${when(filter.since)}<//>`}
      ${filter.until && html`<${Badge} tone="accent">until ${when(filter.until)}<//>`}
      ${isFiltered && html`<${Button} tone="plain small" icon="close" onClick=${() => setSearch({})}>Clear<//>`}
    </div>
    <${Wrong} error=${error} retry=${() => load()} />
    ${rows.page?.stopped_early && html`<p class="note" role="status">The search was stopped at ${when(far)} because it took too long. Go on with older requests, or name a field that few share.</p>`}
    <${Card} flush foot=${rows.next && html`<${Button} busy=${busy} onClick=${() => load(rows.next)}>Older requests<//>`}>
      ${rows.for === null && busy ? html`<div class="body" aria-busy="true" aria-label="loading"><div class="skeleton"></div></div>` : html`<${Table} label="Requests" rows=${rows.data} id=${(row) => row.id} columns=${COLUMNS} empty=${empty}
        onOpen=${(row) => go("requests", row.id, filter)} fresh=${(row) => Date.now() - (arrived.current.get(row.id) ?? 0) < FRESH_MS} />`}
    <//>
    ${parts[0] && html`<${RequestDrawer} id=${parts[0]} known=${rows.data.find((row) => row.id === parts[0])} onClose=${() => go("requests", filter)} />`}
  <//>`;
}

/** One line of fields and words; completes the names of fields, and values where there are few. */
function Search({ line, onLine, values }) {
  const [text, setText] = useState(line);
  useEffect(() => setText(line), [line]);
  const last = text.slice(text.lastIndexOf(" ") + 1);
  const head = text.slice(0, text.length - last.length);
  const [name, value] = last.split(":");
  const known = value === undefined ? Object.keys(values).filter((field) => field.startsWith(last)).map((field) => `${field}:`) : (values[name] ?? []).map((one) => `${name}:${quoted(one)}`);
  return html`<input class="input search wide mono" data-search list="fields" maxlength="1000" spellcheck="false" autocomplete="off" placeholder="status:5xx team:core words or an id  ( / )" aria-label="Search requests" value=${text}
      onInput=${(event) => setText(event.target.value)} onChange=${(event) => onLine(event.target.value.trim())} />
    <datalist id="fields">${known.map((part) => html`<option key=${part} value=${head + part}></option>`)}</datalist>`;
}

/** The filters of an address in one line; links of other pages name their fields, the line of this page is `search`. */
function lineOf({ search, since, until, ...fields }) {
  const named = Object.entries(fields).filter(([, value]) => value).map(([name, value]) => `${name}:${quoted(value)}`);
  return [...named, search].filter(Boolean).join(" ");
}

function quoted(value) {
  return /\s/.test(value) ? `"${value}"` : value;
}

/** Its parts; a blank between quotes does not part. */
function parted(line) {
  return line.match(/(?:[a-z_]+:)?"[^"]*"?|\S+/g) ?? [];
}

function toggled(line, part) {
  const parts = parted(line);
  const field = part.slice(0, part.indexOf(":") + 1);
  return (parts.includes(part) ? parts.filter((one) => one !== part) : [...parts.filter((one) => !one.startsWith(field)), part]).join(" ");
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
