// Upstream accounts: how they are doing, what they are, a test on the real path.
import { html, useState } from "../app/lib.js";
import { all, get, post, useLoad } from "../app/api.js";
import { go, link } from "../app/router.js";
import { ago, count, money, percent, span } from "../app/format.js";
import { converse, temporaryKey } from "../app/public.js";
import { Badge, Button, Card, Cli, Drawer, Empty, Loaded, Message, Page, Spark, Stat, Text, Wrong, sentence } from "../app/ui.js";
import { kinds, useApi } from "../app/form.js";
import { Table } from "../app/table.js";
import { Editor } from "./resources.js";

const EVERY_MS = 10_000;

/** From what the last hour said. */
export function health(row) {
  if (!row || !row.requests) return { tone: "", text: "idle" };
  const failed = row.failed / row.requests;
  if (failed > 0.2) return { tone: "bad", text: "failing" };
  return failed > 0.02 ? { tone: "warn", text: "degraded" } : { tone: "good", text: "healthy" };
}

export function Providers({ parts }) {
  const state = useLoad("providers", () => all("/admin/providers"));
  const traffic = useLoad("traffic 1h", () => get("/admin/traffic?window=1h"), EVERY_MS);
  const catalog = useLoad("catalog", () => get("/admin/catalog"));
  const api = useApi();
  const [making, setMaking] = useState(false);
  const of = (name) => traffic.data?.providers.find((row) => row.provider === name);
  const kindOf = (item) => catalog.data?.data.find((row) => row.id === item.spec.kind);
  const columns = [
    { name: "Name", cell: (item) => html`<span class="strong">${item.name}</span><span class="sub">${kindOf(item)?.title ?? item.spec.kind}</span>` },
    { name: "Health, 1 h", cell: (item) => html`<${Badge} tone=${health(of(item.name)).tone} dot>${health(of(item.name)).text}<//>` },
    { name: "Credential", cell: (item) => credential(item) },
    { name: "Requests, 1 h", num: true, cell: (item) => count(of(item.name)?.requests ?? 0) },
    { name: "Failed", num: true, cell: (item) => percent(of(item.name)?.failed ?? 0, of(item.name)?.requests) },
    { name: "First byte p50", num: true, cell: (item) => span(of(item.name)?.first_byte.p50_us) },
    { name: "p95", num: true, cell: (item) => span(of(item.name)?.total.p95_us) },
  ];
  const add = html`<a class="button" href=${link("start")}>Guided</a><${Button} needs="config:write" tone="main" icon="plus" onClick=${() => setMaking(true)}>New provider<//>`;
  const kind = api.data && kinds(api.data).find((one) => one.plural === "providers");
  return html`<${Page} title="Providers" about="The accounts behind the gateway. Credentials are stored sealed and never shown again." actions=${add} cli="gatewayctl get providers">
    <${Loaded} state=${state}>${(items) => {
      const selected = items.find((item) => item.name === parts[0]);
      return html`<${Card} flush><${Table} label="Providers" rows=${items} id=${(item) => item.id} columns=${columns} onOpen=${(item) => go("providers", item.name)}
          empty=${html`<${Empty} title="No provider yet" action=${html`<a class="button main" href=${link("start")}>Add the first one</a>`}>A provider is an account at a vendor, or a server of your own: a kind, a key, and perhaps an address.<//>`} /><//>
        ${selected && html`<${ProviderDrawer} key=${selected.id} item=${selected} row=${of(selected.name)} catalog=${kindOf(selected)} api=${api.data} kind=${kind} onChange=${state.reload} onClose=${() => go("providers")} />`}`;
    }}<//>
    ${making && kind && html`<${Editor} api=${api.data} kind=${kind} start=${{ name: "", kind: "openai" }} onClose=${() => (setMaking(false), state.reload())} />`}
  <//>`;
}

function credential(item) {
  const facts = Object.values(item.secrets);
  if (facts.length > 1) return `${facts.length} stored`;
  return facts.length ? html`<code>…${facts[0].last4}</code>` : html`<span class="quiet">none</span>`;
}

function ProviderDrawer({ item, row, catalog, api, kind, onChange, onClose }) {
  const [editing, setEditing] = useState(false);
  const traffic = useLoad(`traffic of ${item.name}`, () => get(`/admin/traffic?window=6h&provider=${encodeURIComponent(item.name)}`), EVERY_MS);
  return html`<${Drawer} title=${item.name} onClose=${onClose}>
    <div class="row wrap"><${Badge} tone=${health(row).tone} dot>${health(row).text}<//><span class="quiet note">${catalog?.title ?? item.spec.kind}</span><span class="grow"></span><${Button} needs="config:write" onClick=${() => setEditing(true)}>Edit<//></div>
    <${Loaded} state=${traffic}>${({ data, sum }) => html`<${Card} flush title="Last 6 hours" aside=${html`<a class="note" href=${link("requests", { provider: item.name })}>Its requests</a>`}>
      <div class="stats">
        <${Stat} name="Requests" figure=${count(sum.requests)} under=${`${count(sum.refused)} refused`} />
        <${Stat} name="Failed" figure=${percent(sum.failed, sum.requests)} under=${`${count(sum.failed)} requests`} />
        <${Stat} name="First byte p50" figure=${span(sum.first_byte.p50_us)} under=${`p95 ${span(sum.first_byte.p95_us)}`} />
        <${Stat} name="Cost" figure=${money(sum.cost_nano_usd)} under=${`${count(sum.input_tokens + sum.output_tokens)} tokens`} />
      </div>
      <div class="body"><${Spark} values=${data.map((point) => point.requests)} label="Requests over six hours" /></div><//>`}<//>
    <${Reach} provider=${item.name} />
    <${Test} provider=${item.name} model=${catalog?.model} />
    <${Card} title="What it is"><dl class="facts">
      <dt>Kind</dt><dd>${item.spec.kind}</dd><dt>Dialect</dt><dd>${catalog?.dialect ?? "–"}</dd>
      <dt>Address</dt><dd class="mono small">${item.spec.base_url ?? catalog?.base_url ?? "–"}</dd>
      ${Object.entries(item.secrets).map(([path, fact]) => html`<dt>${path}</dt><dd><code>…${fact.last4}</code> <span class="quiet">since ${ago(fact.updated_at)}</span></dd>`)}
      <dt>Changed</dt><dd>${ago(item.updated_at)}, revision ${item.revision}</dd></dl><//>
    <${Cli} command=${`gatewayctl describe provider ${item.name}`} />
    ${editing && kind && html`<${Editor} api=${api} kind=${kind} item=${item} onClose=${() => (setEditing(false), onChange())} />`}
  <//>`;
}

/** Its list of models, asked for from the control plane with the stored key. */
function Reach({ provider }) {
  const [state, setState] = useState({ busy: false, error: null, done: null });
  const ask = async () => {
    setState({ busy: true, error: null, done: null });
    try {
      setState({ busy: false, error: null, done: await post(`/admin/providers/${encodeURIComponent(provider)}/test`, {}) });
    } catch (error) {
      setState({ busy: false, error, done: null });
    }
  };
  const { done } = state;
  return html`<${Card} title="Its models" aside=${html`<${Button} needs="config:write" tone="small" busy=${state.busy} onClick=${ask} aria-label=${`Ask ${provider} for its models`}>Ask for them<//>`}><div class="stack">
    <p class="quiet note">One request from the control plane with the stored key, which costs nothing there. Some vendors answer it whatever the key is.</p>
    <${Wrong} error=${state.error} />
    ${done && html`<${Message} tone=${done.ok ? "good" : "bad"}><p>${done.ok ? html`<b>${count(done.n_models)}${done.more ? "+" : ""} models</b> in ${done.took_ms} ms: <span class="mono small">${done.models.slice(0, 12).join(", ")}${done.models.length > 12 ? " …" : ""}</span>` : sentence(done.error ?? "")}</p><//>`}
  </div><//>`;
}

/** One short conversation with it, on the path that applications take. */
export function Test({ provider, model: suggested, onPassed }) {
  const [model, setModel] = useState(provider === "demo" ? "chat" : (suggested ?? ""));
  const [state, setState] = useState({ busy: false, error: null, done: null });
  const run = async () => {
    setState({ busy: true, error: null, done: null });
    try {
      const key = await temporaryKey();
      const done = await converse({ key, model: `${provider}/${model}`, messages: [{ role: "user", content: "Say hello in one word." }], settings: {} });
      setState({ busy: false, error: null, done });
      onPassed?.(`${provider}/${model}`, done);
    } catch (error) {
      setState({ busy: false, error, done: null });
    }
  };
  return html`<${Card} title="A short conversation" aside=${html`<span class="note quiet">A real request, with a key that ends within the hour</span>`}><div class="stack">
    <div class="row wrap" style=${{ alignItems: "flex-end" }}><div class="grow"><${Text} label="Model, as the vendor calls it" value=${model} onValue=${setModel} placeholder=${suggested ?? "model"} mono /></div>
      <${Button} tone="main" busy=${state.busy} disabled=${!model} onClick=${run}>${state.busy ? "Asking…" : "Test"}<//></div>
    <${Wrong} error=${state.error && { message: state.error.status ? `the answer was ${state.error.status}: ${state.error.message}` : state.error.message }} />
    ${state.done && html`<${Message} tone="good"><p>It answered in ${span(state.done.totalMs * 1000)}${state.done.usage ? `, with ${state.done.usage.total_tokens} tokens` : ""}: <b>${state.done.text.length > 120 ? `${state.done.text.slice(0, 120)}…` : state.done.text}</b> ${state.done.requestId && html`<a href=${link("requests", state.done.requestId)}>See the request</a>`}</p><//>`}
  </div><//>`;
}
