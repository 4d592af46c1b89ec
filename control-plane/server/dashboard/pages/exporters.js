// Exporters: where records of requests are sent beside the log, how that goes, a test.
import { html, useState } from "../app/lib.js";
import { all, get, post, useLoad } from "../app/api.js";
import { go, link } from "../app/router.js";
import { ago, count, exact } from "../app/format.js";
import { Badge, Button, Card, Empty, Loaded, Message, Page, sentence } from "../app/ui.js";
import { Table } from "../app/table.js";

const EVERY_MS = 5000;
const TYPES = { webhook: "A webhook, signed", slack: "Slack, or who takes the same", datadog: "Datadog", langfuse: "Langfuse", splunk: "Splunk", s3: "An object store", collector: "A collector" };
const STATES = { current: ["good", "delivering"], failing: ["bad", "not taken"], starting: ["", "starting"], off: ["", "off"] };

/** Each exporter with how sending to it goes. */
const load = async () => Promise.all((await all("/admin/exporters")).map((item) => get(`/admin/exporters/${encodeURIComponent(item.name)}/health`)));

export function Exporters() {
  const state = useLoad("exporters", load, EVERY_MS);
  const add = html`<${Button} needs="config:write" tone="main" icon="plus" onClick=${() => go("resources", "exporters")}>New exporter<//>`;
  return html`<${Page} title="Exporters" about="Records of requests are sent on from the log, never from the way of a request. Whoever is slow or away gets them later; a prompt or an answer is sent to nobody who was not allowed to have it." actions=${add} cli="gatewayctl get exporters">
    <${Loaded} state=${state}>${(rows) => html`<${Health} rows=${rows} add=${add} onChange=${state.reload} />`}<//>
  <//>`;
}

function State({ row }) {
  const [tone = "", text] = row.state === "current" && !row.delivered ? ["", "nothing sent yet"] : STATES[row.state];
  const error = row.last_error ?? null;
  return html`<${Badge} tone=${tone} dot>${text}<//>${error && html`<span class=${`small block ${row.state === "failing" ? "bad" : "quiet"}`} title=${row.last_error_at && exact(row.last_error_at)}>${sentence(error)}</span>`}`;
}

function Health({ rows, add, onChange }) {
  const [trial, setTrial] = useState({ busy: null, done: null });
  const test = async (name) => {
    setTrial({ busy: name, done: null });
    try {
      setTrial({ busy: null, done: await post(`/admin/exporters/${encodeURIComponent(name)}/test`, {}) });
    } catch (error) {
      setTrial({ busy: null, done: { exporter: name, delivered: false, error: error.message, took_ms: 0 } });
    }
    onChange();
  };
  const columns = [
    { name: "Exporter", cell: (row) => html`<a class="strong" href=${link("resources", "exporters", row.name)}>${row.name}</a><span class="sub">${TYPES[row.type] ?? row.type}</span>` },
    { name: "Sends to", cell: (row) => html`<span class="mono small">${row.destination}</span>` },
    { name: "State", className: "wide", cell: (row) => html`<${State} row=${row} />` },
    { name: "Behind", num: true, cell: (row) => html`${count(row.behind_records)}${row.behind_records > 0 && html`<span class="sub">${count(Math.round(row.behind_seconds))} s</span>`}` },
    { name: "Delivered", num: true, cell: (row) => html`${count(row.delivered)}${row.last_success_at && html`<span class="sub">${ago(row.last_success_at)}</span>`}` },
    { name: "Refused", num: true, cell: (row) => count(row.failed) },
    { name: "Dropped", num: true, cell: (row) => count(row.dropped) },
    { name: "", num: true, className: "plain nowrap", cell: (row) => row.state !== "off" && html`<${Button} needs="config:write" tone="small" busy=${trial.busy === row.name} onClick=${() => test(row.name)} aria-label=${`Send a test to ${row.name}`}>Send a test<//>` },
  ];
  return html`<${Card} flush title="Who is sent records"><${Table} label="Exporters" rows=${rows} id=${(row) => row.name} columns=${columns}
      empty=${html`<${Empty} title="Records stay in the gateway's own log" action=${add}>A webhook, Slack, Datadog, Langfuse, Splunk, an object store or a collector can be sent them too: all of them, or those of some keys, teams, models, statuses or costs.<//>`} /><//>
    ${trial.done && html`<${Message} tone=${trial.done.delivered ? "good" : "bad"}><p><b>${trial.done.exporter}</b> ${trial.done.delivered ? `took the test in ${trial.done.took_ms} ms.` : `did not take the test. ${sentence(trial.done.error ?? "")}`}</p><//>`}`;
}
