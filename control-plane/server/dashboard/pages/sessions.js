// Sessions: requests that belong together because their clients said so, and one of them as it went.
import { html, useEffect, useState } from "../app/lib.js";
import { get, query, useLoad } from "../app/api.js";
import { go, link, place, setSearch } from "../app/router.js";
import { ago, count, exact, money, span, time, tokens } from "../app/format.js";
import { Badge, Bar, Button, Card, Empty, Loaded, Page, Stat, Wrong } from "../app/ui.js";
import { Table } from "../app/table.js";
import { ENDINGS, tone } from "./requests.js";

const PAGE = 100;
const SPANS = [["", "ever"], ["3600000", "1 h"], ["86400000", "1 d"], ["604800000", "7 d"]];
const HEADER = html`<code>x-gateway-sessionid</code>`;

export function Sessions({ parts }) {
  return parts[0] === undefined ? html`<${List} />` : html`<${One} key=${parts[0]} session=${parts[0]} />`;
}

/** A name, and how many more there are. */
const named = ({ total, most }) => (total === 0 ? html`<span class="quiet">–</span>` : html`${most[0].name}${total > 1 && html`<span class="sub">and ${count(total - 1)} more</span>`}`);

/** What it cost, as far as that is known: a sum without any price behind it is not nothing. */
const cost = (row) => (row.unpriced_requests > 0 && row.cost_nano_usd === 0 ? "–" : money(row.cost_nano_usd));
const unpriced = (row) => row.unpriced_requests > 0 && `${count(row.unpriced_requests)} without a price`;

const length = (row) => span((Date.parse(row.last_request_at) - Date.parse(row.first_request_at)) * 1000);

function Ends({ row }) {
  if (row.failed > 0) return html`<${Badge} tone="bad" dot>${count(row.failed)} failed<//>`;
  if (row.refused > 0) return html`<${Badge} tone="warn" dot>${count(row.refused)} refused<//>`;
  return html`<${Badge} tone="good" dot>all well<//>`;
}

const COLUMNS = [
  { name: "Session", className: "wide", cell: (row) => html`<span class="mono small block">${row.session}</span>` },
  { name: "Last request", className: "nowrap", cell: (row) => html`<span title=${exact(row.last_request_at)}>${ago(row.last_request_at)}</span><span class="sub">over ${length(row)}</span>` },
  { name: "Requests", num: true, cell: (row) => count(row.requests) },
  { name: "Outcome", className: "nowrap", cell: (row) => html`<${Ends} row=${row} />` },
  { name: "Model", cell: (row) => named(row.models) },
  { name: "Key", cell: (row) => named(row.keys) },
  { name: "User", cell: (row) => named(row.users) },
  { name: "Tokens", num: true, cell: (row) => count(row.input_tokens + row.output_tokens) },
  { name: "Cost", num: true, cell: (row) => html`${cost(row)}${unpriced(row) && html`<span class="sub">${unpriced(row)}</span>`}` },
];

function List() {
  const { search = "", within = "", user, key, model } = Object.fromEntries(place.value.search);
  const asked = { search, user, key, model };
  const wanted = query({ ...asked, within });
  const [rows, setRows] = useState({ for: null, data: [], next: null });
  const [state, setState] = useState({ busy: true, error: null });
  const load = async (after) => {
    setState({ busy: true, error: null });
    try {
      const page = await get(`/admin/logs/sessions${query({ ...asked, since: within && Date.now() - Number(within), limit: PAGE, after })}`);
      setRows((before) => ({ for: wanted, data: after ? [...before.data, ...page.data] : page.data, next: page.next }));
      setState({ busy: false, error: null });
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  useEffect(() => void load(), [wanted]);
  const look = (change) => setSearch({ ...asked, within, ...change });
  const isFiltered = Boolean(wanted);
  const flags = [["user", user], ["key", key], ["model", model]].filter(([, value]) => value);
  const cli = `gatewayctl sessions${[["", search], ...flags].filter(([, value]) => value).map(([name, value]) => `${name && ` --${name}`} ${/^[\w.@/-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`}`).join("")}`;
  const empty = isFiltered
    ? html`<${Empty} title="No session fits" action=${html`<${Button} onClick=${() => setSearch({})}>Take the filters away<//>`}>Sessions are found by how their id begins, and are kept for as long as their records.<//>`
    : html`<${Empty} title="No sessions yet" action=${html`<a class="button" href=${link("requests")}>To the requests</a>`}>A client that sends ${HEADER} with its requests has them shown together here: a conversation, a run of an agent, a job.<//>`;
  return html`<${Page} title="Sessions" about="Requests that clients marked as belonging together, summed up as they come; those first that were used last." cli=${cli}>
    <div class="filters">
      <input class="input search wide mono" data-search maxlength="200" spellcheck="false" autocomplete="off" placeholder="How a session's id begins  ( / )" aria-label="Search sessions" value=${search} onChange=${(event) => look({ search: event.target.value.trim() })} />
      ${SPANS.map(([ms, text]) => html`<${Button} key=${ms} tone="small" aria-pressed=${within === ms} onClick=${() => look({ within: ms })}>${text}<//>`)}
      ${flags.map(([name, value]) => html`<${Badge} key=${name} tone="accent">${name} ${value}<//>`)}
      ${isFiltered && html`<${Button} tone="plain small" icon="close" onClick=${() => setSearch({})}>Clear<//>`}
    </div>
    <${Wrong} error=${state.error} retry=${() => load()} />
    <${Card} flush foot=${rows.next && html`<${Button} busy=${state.busy} onClick=${() => load(rows.next)}>Older sessions<//>`}>
      ${rows.for === null && state.busy ? html`<div class="body" aria-busy="true" aria-label="loading"><div class="skeleton"></div></div>` : html`<${Table} label="Sessions" rows=${rows.data} id=${(row) => row.session} columns=${COLUMNS} empty=${empty} onOpen=${(row) => go("sessions", row.session)} />`}
    <//>
  <//>`;
}

/** The sums, and the requests that are still kept, newest first, in pages. */
function One({ session }) {
  const state = useLoad(`session ${session}`, async () => (await get(`/admin/logs/sessions${query({ session })}`)).data[0] ?? null);
  const back = html`<a class="button" href=${link("sessions")}>All sessions</a>`;
  return html`<${Page} title="Session" about=${html`<code class="block">${session}</code>`} actions=${back} cli=${`gatewayctl logs 'session:${session.replaceAll("'", "'\\''")}'`}>
    <${Loaded} state=${state}>${(sum) =>
      sum
        ? html`<${Sums} sum=${sum} /><${Timeline} sum=${sum} />`
        : html`<${Card}><${Empty} title="There is no such session" action=${back}>Sessions are kept for as long as the records of their requests.<//><//>`}<//>
  <//>`;
}

const list = ({ total, most }, name) => html`${most.map((one, at) => html`${at > 0 && ", "}<a href=${link("requests", { [name]: one.name })}>${one.name}</a> <span class="quiet">${count(one.requests)}</span>`)}${total > most.length && html` <span class="quiet">and ${count(total - most.length)} more</span>`}${total === 0 && "–"}`;

function Sums({ sum }) {
  return html`<div class="card"><div class="stats">
      <${Stat} name="Requests" figure=${count(sum.requests)} under=${`over ${length(sum)}`} />
      <${Stat} name="Failed" figure=${count(sum.failed)} tone=${sum.failed ? "bad" : ""} under=${`${count(sum.refused)} refused`} />
      <${Stat} name="Tokens" figure=${count(sum.input_tokens + sum.output_tokens)} under=${`${count(sum.input_tokens)} in, ${count(sum.output_tokens)} out`} />
      <${Stat} name="Cost" figure=${cost(sum)} under=${unpriced(sum) ? unpriced(sum) : sum.requests ? `${money(sum.cost_nano_usd / sum.requests)} a request` : ""} />
    </div></div>
    <${Card} title="What it is"><dl class="facts">
      <dt>First request</dt><dd>${exact(sum.first_request_at)} (${ago(sum.first_request_at)})</dd>
      <dt>Last request</dt><dd>${exact(sum.last_request_at)} (${ago(sum.last_request_at)})</dd>
      <dt>Models</dt><dd>${list(sum.models, "model")}</dd>
      <dt>Keys</dt><dd>${list(sum.keys, "key")}</dd>
      <dt>Users</dt><dd>${list(sum.users, "user")}</dd>
    </dl><//>`;
}

const COLOURS = { good: "--c1", warn: "--c3", bad: "--bad" };

function Timeline({ sum }) {
  const [rows, setRows] = useState({ data: [], next: null });
  const [state, setState] = useState({ busy: true, error: null });
  const load = async (after) => {
    setState({ busy: true, error: null });
    try {
      const page = await get(`/admin/logs${query({ session: sum.session, since: Date.parse(sum.first_request_at), limit: PAGE, after })}`);
      setRows((before) => ({ data: after ? [...before.data, ...page.data] : page.data, next: page.next }));
      setState({ busy: false, error: null });
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  useEffect(() => void load(), [sum.session, sum.requests]);
  const began = Math.min(...rows.data.map((row) => row.started_unix_ms));
  const ended = Math.max(...rows.data.map((row) => row.started_unix_ms + row.total_us / 1000));
  const most = Math.max(1, ...rows.data.map((row) => row.cost_nano_usd));
  const columns = [
    { name: "Time", className: "nowrap", cell: (row) => html`<span title=${exact(row.started_unix_ms)}>${time(row.started_unix_ms)}</span><span class="sub">+${span((row.started_unix_ms - began) * 1000)}</span>` },
    { name: "Request", cell: (row) => html`<a class="strong" href=${link("requests", row.id, { session: sum.session })}>${row.model || row.path}</a><span class="sub">${row.provider ? `${row.provider}/${row.upstream_model}` : row.method}</span>` },
    { name: "Status", cell: (row) => html`<${Badge} tone=${tone(row)} dot>${row.status}<//>${row.ending !== "finished" && html`<span class="sub">${row.error_code || (ENDINGS[row.ending] ?? row.ending)}</span>`}` },
    { name: "Course", className: "wide course", cell: (row) => html`<${Track} row=${row} began=${began} length=${ended - began} />` },
    { name: "Took", num: true, cell: (row) => span(row.total_us) },
    { name: "Tokens", num: true, cell: (row) => (row.tokens ? count(tokens(row.tokens)) : "–") },
    { name: "Cost", num: true, className: "nowrap", cell: (row) => html`${row.priced ? money(row.cost_nano_usd) : "–"}<${Bar} share=${row.cost_nano_usd / most} />` },
  ];
  const kept = rows.data.length < sum.requests && !rows.next && !state.busy;
  return html`<${Wrong} error=${state.error} retry=${() => load()} />
    <${Card} flush title="Its requests" aside=${html`<a class="note" href=${link("requests", { session: sum.session })}>As a list</a>`} foot=${rows.next && html`<${Button} busy=${state.busy} onClick=${() => load(rows.next)}>Earlier requests<//>`}>
      <${Table} label="Requests of the session" rows=${rows.data} id=${(row) => row.id} columns=${columns} onOpen=${(row) => go("requests", row.id, { session: sum.session })}
        empty=${state.busy ? html`<div class="body" aria-busy="true" aria-label="loading"><div class="skeleton"></div></div>` : html`<${Empty} title="Their records are not kept any more">The sums above stay a while longer.<//>`} />
    <//>
    ${kept && rows.data.length > 0 && html`<p class="note quiet">Records of ${count(sum.requests - rows.data.length)} earlier requests are not kept any more.</p>`}`;
}

/** When the request was, within all that are shown. */
function Track({ row, began, length }) {
  const share = (ms) => `${length > 0 ? (ms / length) * 100 : 0}%`;
  const wide = length > 0 ? share(row.total_us / 1000) : "100%";
  return html`<div class="track" role="img" aria-label=${`from ${span((row.started_unix_ms - began) * 1000)} on, for ${span(row.total_us)}`}><i style=${{ left: share(row.started_unix_ms - began), width: wide, background: `var(${COLOURS[tone(row)]})` }}></i></div>`;
}
