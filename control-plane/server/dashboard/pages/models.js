// Public model names, the targets behind them, and which of those are in rotation.
import { html, useState } from "../app/lib.js";
import { all, get, post, query, spending, useLoad } from "../app/api.js";
import { go, link } from "../app/router.js";
import { count, money, percent } from "../app/format.js";
import { Badge, Bar, Button, Card, Cli, Drawer, Empty, Loaded, Meter, Page, Wrong } from "../app/ui.js";
import { kinds, useApi } from "../app/form.js";
import { Table } from "../app/table.js";
import { Editor } from "./resources.js";
import { health } from "./providers.js";

const EVERY_MS = 10_000;

export function Models({ parts }) {
  const state = useLoad("models", async () => ({ models: await all("/admin/models"), deployments: (await get("/admin/deployments")).data }));
  const used = useLoad("month by model", () => spending("model", 30));
  const traffic = useLoad("traffic 1h", () => get("/admin/traffic?window=1h"), EVERY_MS);
  const api = useApi();
  const [making, setMaking] = useState(false);
  const kind = api.data && kinds(api.data).find((one) => one.plural === "models");
  const sum = (name, field) => used.data?.data.filter((row) => row.name === name).reduce((all, row) => all + row[field], 0) ?? 0;
  const columns = [
    { name: "Model", cell: (item) => html`<span class="strong">${item.name}</span>${item.spec.description && html`<span class="sub">${item.spec.description}</span>`}` },
    { name: "Targets", cell: (item) => html`${(item.spec.targets ?? []).slice(0, 3).map((target) => html`<span class="sub">${target.provider}/${target.model}${target.enabled === false ? " (out)" : ""}</span>`)}${(item.spec.targets?.length ?? 0) > 3 && html`<span class="sub">and ${item.spec.targets.length - 3} more</span>`}${!item.spec.targets?.length && html`<span class="quiet">${item.spec.selectors?.length ? "by selector" : item.spec.experiment ? "experiment" : "none"}</span>`}` },
    { name: "Strategy", cell: (item) => item.spec.strategy ?? "as listed" },
    { name: "Requests, 30 d", num: true, cell: (item) => count(sum(item.name, "requests")) },
    { name: "Cost, 30 d", num: true, cell: (item) => money(sum(item.name, "cost_nano_usd")) },
  ];
  const add = html`<${Button} needs="config:write" tone="main" icon="plus" onClick=${() => setMaking(true)}>New model<//>`;
  return html`<${Page} title="Models" about="Names that clients ask for, and the upstream models that stand behind each. Without any, clients name provider/model directly." actions=${add} cli="gatewayctl get models && gatewayctl deployments list">
    <${Loaded} state=${state}>${({ models, deployments }) => {
      const selected = models.find((item) => item.name === parts[0]);
      return html`<${Card} flush><${Table} label="Models" rows=${models} id=${(item) => item.id} columns=${columns} onOpen=${(item) => go("models", item.name)}
          empty=${html`<${Empty} title="No public models yet" action=${add}>Clients can already call <code>provider/model</code>. A public model gives that a name of your own, and puts several targets behind it: to fall back, to share load, to go by cost or latency.<//>`} /><//>
        ${selected && html`<${ModelDrawer} key=${selected.id} item=${selected} deployments=${deployments.filter((one) => one.model_alias === selected.name)} traffic=${traffic.data} api=${api.data} kind=${kind} onChange=${state.reload} onClose=${() => go("models")} />`}`;
    }}<//>
    ${making && kind && html`<${Editor} api=${api.data} kind=${kind} start=${{ name: "", targets: [{ provider: "", model: "" }] }} onClose=${() => (setMaking(false), state.reload())} />`}
  <//>`;
}

function ModelDrawer({ item, deployments, traffic, api, kind, onChange, onClose }) {
  const [state, setState] = useState({ busy: null, error: null, rollout: null });
  const [editing, setEditing] = useState(false);
  const change = async (deployment) => {
    setState({ busy: deployment.id, error: null, rollout: null });
    const began = performance.now();
    try {
      const verb = deployment.is_active ? "disable" : "enable";
      const answer = await post(`/admin/deployments/${verb}${query({ timeout: "10s" })}`, { id: deployment.id });
      setState({ busy: null, error: null, rollout: answer.change.rollout, took: performance.now() - began });
      onChange();
    } catch (error) {
      setState({ busy: null, error, rollout: null });
    }
  };
  const groups = [...new Set(deployments.map((one) => one.priority))].sort((a, b) => a - b);
  return html`<${Drawer} title=${item.name} onClose=${onClose}>
    <div class="row"><span class="quiet note grow">${item.spec.description ?? "A public model name"}</span><a class="button" href=${link("routes", { model: item.name })}>Simulate</a><${Button} onClick=${() => setEditing(true)}>Edit<//></div>
    <${Wrong} error=${state.error} />
    ${state.rollout && html`<${Meter} rollout=${state.rollout} took=${state.took} />`}
    ${groups.map((priority, at) => {
      const group = deployments.filter((one) => one.priority === priority);
      const weight = group.filter((one) => one.is_active).reduce((all, one) => all + one.weight, 0);
      return html`<${Card} key=${priority} title=${at === 0 ? "Asked first" : `Then, priority ${priority}`} aside=${html`<${Badge}>${group[0].routing_strategy}<//>`}><div class="stack tight">
        ${group.map((one) => {
          const row = traffic?.providers.find((seen) => seen.provider === one.provider);
          return html`<div class="target ${one.is_active ? "" : "skipped"}" key=${one.id}>
            <span class=${health(row).tone || "quiet"} title=${health(row).text}><i class="dot" style=${{ display: "inline-block" }}></i></span>
            <div class="grow"><div class="strong cut">${one.provider}/${one.provider_model}</div><div class="small quiet">weight ${one.weight}${one.is_active && weight ? `, ${percent(one.weight, weight)} of this group` : ""} · ${health(row).text}</div>
              ${one.is_active && weight > 0 && group.length > 1 && html`<${Bar} share=${one.weight / weight} label="Share" />`}</div>
            <${Button} needs="config:write" tone="small" busy=${state.busy === one.id} onClick=${() => change(one)}>${one.is_active ? "Take out" : "Put back"}<//></div>`;
        })}</div><//>`;
    })}
    ${item.spec.fallbacks?.length > 0 && html`<${Card} title="When all of them fail"><p>${item.spec.fallbacks.join(", then ")}</p><//>`}
    <${Cli} command=${`gatewayctl describe model ${item.name}`} />
    ${editing && kind && html`<${Editor} api=${api} kind=${kind} item=${item} onClose=${() => (setEditing(false), onChange())} />`}
  <//>`;
}
