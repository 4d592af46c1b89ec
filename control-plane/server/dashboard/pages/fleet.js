// The nodes: who is here, what they run, who refused what, and how to add one.
import { html, useState } from "../app/lib.js";
import { get, post, remove, useLoad } from "../app/api.js";
import { go } from "../app/router.js";
import { ago, bytes, count, exact, rate, span } from "../app/format.js";
import { Badge, Button, Card, Cli, Code, Confirm, CopyButton, Dialog, Drawer, Empty, Loaded, Message, Page, Stat, Text, Wrong } from "../app/ui.js";
import { Table } from "../app/table.js";
import { nodeTone } from "./overview.js";

const EVERY_MS = 3000;

export function Fleet({ parts }) {
  const state = useLoad("fleet", async () => ({ nodes: (await get("/admin/nodes?limit=500")).data, status: await get("/admin/status") }), EVERY_MS);
  const [adding, setAdding] = useState(false);
  const add = html`<${Button} needs="fleet:write" tone="main" icon="plus" onClick=${() => setAdding(true)}>Add a node<//>`;
  return html`<${Page} title="Fleet" about="Each node serves on by the last configuration that it took, also while the control plane is away." actions=${add} cli="gatewayctl node list">
    <${Loaded} state=${state}>${({ nodes, status }) => html`<${Glance} nodes=${nodes} status=${status} />
      <${Refusals} nodes=${nodes} />
      <${Card} flush><${Table} label="Nodes" rows=${nodes} id=${(node) => node.id} columns=${COLUMNS} onOpen=${(node) => go("fleet", node.id)}
        empty=${html`<${Empty} title="No node has joined" action=${add}>A node is a program that serves requests. It joins with a token, takes the configuration from here, and needs nothing else.<//>`} /><//>
      ${parts[0] && nodes.some((node) => node.id === parts[0]) && html`<${NodeDrawer} node=${nodes.find((node) => node.id === parts[0])} onChange=${state.reload} onClose=${() => go("fleet")} />`}
    `}<//>
    ${adding && html`<${Add} onClose=${() => setAdding(false)} />`}
  <//>`;
}

function Glance({ nodes, status }) {
  const connected = nodes.filter((node) => node.connected);
  const behind = connected.filter((node) => node.lag.topology || node.lag.identity);
  const lost = nodes.reduce((all, node) => all + (node.spool?.logs_dropped ?? 0) + (node.spool?.usage_dropped ?? 0), 0);
  return html`<${Card} flush><div class="stats">
    <${Stat} name="Connected" figure=${`${connected.length}/${nodes.length}`} under=${nodes.length - connected.length ? `${nodes.length - connected.length} away` : "all of them"} />
    <${Stat} name="Newest revision" figure=${`${status.revision.topology}.${status.revision.identity}`} under="topology.identity" />
    <${Stat} name="Behind" figure=${count(behind.length)} tone=${behind.length ? "warn" : ""} under=${behind.length ? "taking it now, or refusing it" : "everybody is current"} />
    <${Stat} name="Versions" figure=${count(new Set(connected.map((node) => node.version)).size)} under=${[...new Set(connected.map((node) => node.version))].join(", ") || "–"} />
    <${Stat} name="Records lost" figure=${count(lost)} tone=${lost ? "warn" : ""} under=${lost ? "a full or failing disk" : "since the nodes started"} />
  </div><//>`;
}

const errorsOf = (node) => node.errors ?? [];

function Refusals({ nodes }) {
  return nodes.filter((node) => node.connected && errorsOf(node).length).map((node) => html`<${Message} tone="bad" key=${node.id}>
    <p><b>${node.id}</b> did not take what it was given; it serves on by what it had.</p>
    <ul>${errorsOf(node).map((error) => html`<li><code>${[error.kind, error.name, error.field_path].filter(Boolean).join(" ")}</code> ${error.message}</li>`)}</ul><//>`);
}

const Class = ({ view, lag }) => html`${view.revision}<span class="sub">${view.status === "applied" ? (lag ? `${lag} behind` : "current") : html`<span class="bad">${view.status.replaceAll("_", " ")}</span>`}</span>`;

const COLUMNS = [
  { name: "Node", cell: (node) => html`<span class="mono small">${node.id}</span><span class="sub">${Object.entries(node.labels ?? {}).map(([name, value]) => `${name}=${value}`).join(" ")}</span>` },
  { name: "State", cell: (node) => (node.revoked_at ? html`<${Badge} tone="bad">put out<//>` : html`<${Badge} tone=${nodeTone(node)} dot>${node.connected ? "connected" : "away"}<//>${!node.connected && html`<span class="sub">since ${ago(node.last_seen)}</span>`}`) },
  { name: "Version", cell: (node) => node.version ?? "–" },
  { name: "Topology", num: true, cell: (node) => (node.topology ? html`<${Class} view=${node.topology} lag=${node.lag.topology} />` : "–") },
  { name: "Identity", num: true, cell: (node) => (node.identity ? html`<${Class} view=${node.identity} lag=${node.lag.identity} />` : "–") },
  { name: "Requests/s", num: true, cell: (node) => rate(node.metrics?.requests_per_second) },
  { name: "Errors/s", num: true, cell: (node) => rate(node.metrics?.errors_per_second) },
  { name: "p95", num: true, cell: (node) => (node.metrics?.p95_ms ? span(node.metrics.p95_ms * 1000) : "–") },
  { name: "Open", num: true, cell: (node) => count(node.metrics?.open_streams) },
  { name: "Memory", num: true, cell: (node) => bytes(node.metrics?.resident_bytes) },
];

function NodeDrawer({ node, onChange, onClose }) {
  const [asking, setAsking] = useState(false);
  return html`<${Drawer} title=${node.id} onClose=${onClose}>
    <div class="row"><${Badge} tone=${nodeTone(node)} dot>${node.connected ? "connected" : "away"}<//><span class="grow quiet note">last heard ${ago(node.last_seen)}</span>
      ${!node.revoked_at && node.certificate && html`<${Button} needs="fleet:write" tone="danger" onClick=${() => setAsking(true)}>Put out of the fleet<//>`}</div>
    ${errorsOf(node).length > 0 && html`<${Refusals} nodes=${[{ ...node, connected: true }]} />`}
    ${(node.warnings ?? []).map((warning) => html`<${Message} tone="warn" key=${warning}><p>${warning}</p><//>`)}
    <${Card} title="What it runs"><dl class="facts">
      <dt>Version</dt><dd>${node.version}</dd>
      <dt>Topology</dt><dd>${node.topology?.revision} (${node.topology?.status}), ${node.topology?.persisted ? `${node.topology.persisted} on disk` : "not kept on disk"}</dd>
      <dt>Identity</dt><dd>${node.identity?.revision} (${node.identity?.status}), ${node.identity?.persisted ? `${node.identity.persisted} on disk` : "not kept on disk"}</dd>
      <dt>Boot</dt><dd class="mono small">${node.boot_id}</dd>
      <dt>Clock</dt><dd>${node.clock_offset_ms} ms from ours</dd>
      <dt>Certificate</dt><dd>${node.certificate ? `until ${exact(node.certificate.not_after)}` : "none: it runs in the control plane's process"}</dd>
      ${node.enrolled_at && html`<dt>Joined</dt><dd>${exact(node.enrolled_at)}</dd>`}</dl><//>
    <${Card} title="What it still owes"><dl class="facts">
      <dt>Usage</dt><dd>${count(node.spool?.usage_pending ?? 0)} records, ${bytes(node.spool?.usage_bytes ?? 0)}; ${count(node.spool?.usage_dropped ?? 0)} lost</dd>
      <dt>Logs</dt><dd>${count(node.spool?.logs_pending ?? 0)} records; ${count(node.spool?.logs_dropped ?? 0)} lost</dd>
      <dt>Bodies</dt><dd>${count(node.spool?.bodies_pending ?? 0)}; ${count(node.spool?.bodies_dropped ?? 0)} lost</dd></dl><//>
    <${Cli} command=${`gatewayctl node describe ${node.id}`} />
    ${asking && html`<${Confirm} title="Put this node out?" verb="Put it out" onClose=${() => setAsking(false)} act=${async () => (await post(`/admin/nodes/${node.id}/revoke`), onChange())}><p>Its certificate is refused from now on, for good. It cuts its connection and can only come back as a new node with a new token.</p><//>`}
  <//>`;
}

function Add({ onClose }) {
  const [uses, setUses] = useState("1");
  const [made, setMade] = useState(null);
  const [error, setError] = useState(null);
  const tokens = useLoad("join tokens", () => get("/admin/nodes/tokens"));
  const create = async () => {
    try {
      setMade(await post("/admin/nodes/tokens", { uses: Number(uses) || 1 }));
      setError(null);
      tokens.reload();
    } catch (failure) {
      setError(failure);
    }
  };
  const token = made?.token ?? made?.join_token ?? made?.secret;
  return html`<${Dialog} wide title="Add a node" onClose=${onClose} foot=${html`<${Button} onClick=${onClose}>Close<//>`}>
    ${made ? html`<${Message} tone="warn"><p>The token is shown this once.</p><//><div class="secret"><code>${token}</code><${CopyButton} text=${token} /></div>
        <p class="note quiet">On the other machine, with the address of this control plane's fleet listener:</p>
        <${Code} wrapped text=${`gateway-data-plane --fleet-url https://${location.hostname}:8082 --join-token ${token}`} />`
      : html`<p class="quiet note">A token lets a node in once, or as often as you say, for a day. It carries the fingerprint of this fleet's authority, so that the node knows whom it talks to.</p>
        <div class="row" style=${{ alignItems: "flex-end" }}><${Text} label="Nodes it lets in" inputmode="numeric" value=${uses} onValue=${setUses} /><${Button} needs="fleet:write" tone="main" onClick=${create}>Make a token<//></div>`}
    <${Wrong} error=${error} />
    ${tokens.data?.data.length > 0 && html`<${Card} title="Tokens that can still be used" flush><${Table} label="Join tokens" rows=${tokens.data.data} id=${(row) => row.id} columns=${[
      { name: "Id", cell: (row) => html`<span class="mono small">${row.id}</span>` },
      { name: "Uses left", num: true, cell: (row) => row.uses_left ?? "any" },
      { name: "Until", num: true, cell: (row) => ago(row.expires_at) },
      { name: "", num: true, cell: (row) => html`<${Button} needs="fleet:write" tone="small danger" onClick=${async () => (await remove(`/admin/nodes/tokens/${row.id}`), tokens.reload())}>Withdraw<//>` },
    ]} /><//>`}
    <${Cli} command=${`gatewayctl node token create --uses ${uses || 1}`} />
  <//>`;
}
