// How it goes right now, and what stands out today.
import { html, useMemo, useState } from "../app/lib.js";
import { get, spending, useLoad } from "../app/api.js";
import { go, link } from "../app/router.js";
import { may } from "../app/state.js";
import { ago, count, money, percent, rate, span } from "../app/format.js";
import { Badge, Bar, Card, Empty, Loaded, Page, Segments, Stat } from "../app/ui.js";
import { Chart, Legend } from "../app/chart.js";

const EVERY_MS = 5000;
const WINDOWS = [["1h", "1 h"], ["6h", "6 h"], ["24h", "24 h"], ["3d", "3 d"]];
const N_TOP = 6;

export function Overview() {
  const [span, setSpan] = useState("1h");
  const traffic = useLoad(`traffic ${span}`, () => get(`/admin/traffic?window=${span}`), EVERY_MS);
  const nodes = useLoad("nodes", () => (may("fleet:read") ? get("/admin/nodes?limit=500") : null), EVERY_MS);
  const models = useLoad("today by model", () => spending("model", 1), EVERY_MS * 2);
  const keys = useLoad("today by key", () => spending("key", 1), EVERY_MS * 2);
  const actions = html`<${Segments} label="Window" value=${span} options=${WINDOWS} onValue=${setSpan} />`;
  return html`<${Page} title="Overview" about="What passes through the gateway, what it costs and whether it is well." actions=${actions} cli="gatewayctl status && gatewayctl usage --by model">
    <${Loaded} state=${traffic}>${(data) => html`<${Figures} data=${data} nodes=${nodes.data?.data} today=${models.data?.data} /><${Charts} data=${data} />`}<//>
    <div class="grid three">
      <${Top} title="Models today" state=${models} page="model" />
      <${Top} title="Keys today" state=${keys} page="key" />
      <${Card} title="Providers in this window" flush><${Loaded} state=${traffic}>${(data) => html`<${Health} rows=${data.providers} />`}<//><//>
    </div>
    ${may("fleet:read") && html`<${Card} title="Fleet" aside=${html`<a class="note" href=${link("fleet")}>All nodes</a>`}>
      <${Loaded} state=${nodes}>${({ data }) => html`<${Strip} nodes=${data} />`}<//>
    <//>`}
  <//>`;
}

function Figures({ data, nodes, today }) {
  const sum = data.sum;
  const live = nodes?.filter((node) => node.connected && node.metrics);
  const now = live?.reduce((all, node) => all + node.metrics.requests_per_second, 0);
  const streams = live?.reduce((all, node) => all + node.metrics.open_streams, 0);
  const seconds = data.data.length * data.step_s;
  const spend = today?.reduce((all, row) => all + row.cost_nano_usd, 0);
  const failed = sum.requests ? sum.failed / sum.requests : 0;
  return html`<${Card} flush><div class="stats">
    <${Stat} name="Requests per second" figure=${rate(now ?? sum.requests / seconds)} under=${`${count(sum.requests)} in this window · ${count(streams ?? 0)} open`} />
    <${Stat} name="Failed" figure=${percent(sum.failed, sum.requests)} tone=${failed > 0.05 ? "bad" : failed > 0.01 ? "warn" : ""} under=${`${count(sum.failed)} failed · ${count(sum.refused)} refused`} />
    <${Stat} name="First byte, p50" figure=${span(sum.first_byte.p50_us)} under=${`p95 ${span(sum.first_byte.p95_us)} · p99 ${span(sum.first_byte.p99_us)}`} />
    <${Stat} name="Whole request, p50" figure=${span(sum.total.p50_us)} under=${`p95 ${span(sum.total.p95_us)} · p99 ${span(sum.total.p99_us)}`} />
    <${Stat} name="Tokens per second" figure=${rate((sum.input_tokens + sum.output_tokens) / seconds)} under=${`${count(sum.input_tokens)} in · ${count(sum.output_tokens)} out`} />
    <${Stat} name="Spend today" figure=${money(spend)} under=${`${money(sum.cost_nano_usd)} in this window · UTC day`} />
  </div><//>`;
}

function Charts({ data }) {
  const points = data.data;
  const columns = useMemo(() => {
    const pick = (value) => points.map(value);
    return {
      times: pick((point) => point.at_unix_ms / 1000),
      traffic: [
        { name: "Requests", values: pick((point) => point.requests / (data.step_s / 60)), colour: "--c1", fill: true },
        { name: "Failed", values: pick((point) => point.failed / (data.step_s / 60)), colour: "--bad" },
        { name: "Refused", values: pick((point) => point.refused / (data.step_s / 60)), colour: "--c3" },
      ],
      times_taken: [
        { name: "Whole, p95", values: pick((point) => point.total.p95_us), colour: "--c4" },
        { name: "Whole, p50", values: pick((point) => point.total.p50_us), colour: "--c1" },
        { name: "First byte, p50", values: pick((point) => point.first_byte.p50_us), colour: "--c2" },
      ],
    };
  }, [data]);
  if (data.sum.requests === 0) {
    return html`<${Card}><${Empty} title="Nothing has passed in this window" action=${html`<a class="button main" href=${link("start")}>Send a first request</a>`}>
      As soon as an application calls the gateway, requests, errors and times are drawn here, within a few seconds.<//><//>`;
  }
  const drill = (at) => go("requests", { since: new Date(points[at].at_unix_ms).toISOString() });
  return html`<div class="grid two">
    <${Card} title="Requests per minute" aside=${html`<${Legend} series=${columns.traffic} />`}><${Chart} label="Requests per minute" times=${columns.times} series=${columns.traffic} format=${rate} onPick=${drill} /><//>
    <${Card} title="Time taken" aside=${html`<${Legend} series=${columns.times_taken} />`}><${Chart} label="Time taken" times=${columns.times} series=${columns.times_taken} format=${span} onPick=${drill} /><//>
  </div>`;
}

function Top({ title, state, page }) {
  return html`<${Card} title=${title} aside=${html`<a class="note" href=${link("cost", { by: page })}>Details</a>`}>
    <${Loaded} state=${state}>${({ data }) => {
      const rows = data.filter((row) => row.name).sort((a, b) => b.cost_nano_usd - a.cost_nano_usd || b.requests - a.requests).slice(0, N_TOP);
      const measure = rows.some((row) => row.cost_nano_usd > 0) ? "cost_nano_usd" : "requests";
      const most = Math.max(1, ...rows.map((row) => row[measure]));
      if (!rows.length) return html`<p class="quiet note">Nothing used yet today (UTC).</p>`;
      return rows.map((row) => html`<div class="rank" key=${row.name}>
        ${may("requests:read") ? html`<a class="cut" href=${link("requests", { [page]: row.name })}>${row.name}</a>` : html`<span class="cut">${row.name}</span>`}
        <span class="note"><b>${measure === "requests" ? count(row.requests) : money(row.cost_nano_usd)}</b> <span class="quiet">${measure === "requests" ? "requests" : `${count(row.requests)} req`}</span></span>
        <${Bar} share=${row[measure] / most} label="" />
      </div>`);
    }}<//>
  <//>`;
}

function Health({ rows }) {
  if (!rows.length) return html`<div class="body quiet note">No provider was asked.</div>`;
  return html`<div class="table-wrap"><table aria-label="Providers"><thead><tr><th>Provider</th><th class="num">Requests</th><th class="num">Failed</th><th class="num">p95</th></tr></thead><tbody>
    ${rows.map((row) => html`<tr key=${row.provider}><td>${may("config:read") ? html`<a href=${link("providers", row.provider)}>${row.provider}</a>` : row.provider}</td><td class="num">${count(row.requests)}</td>
      <td class="num"><span class=${row.failed / row.requests > 0.05 ? "bad strong" : ""}>${percent(row.failed, row.requests)}</span></td><td class="num">${span(row.total.p95_us)}</td></tr>`)}
  </tbody></table></div>`;
}

export function nodeTone(node) {
  if (node.revoked_at) return "bad";
  if (!node.connected) return "";
  const bad = ["rejected", "incompatible", "regressed"];
  if (bad.includes(node.topology?.status) || bad.includes(node.identity?.status)) return "bad";
  return node.lag?.topology || node.lag?.identity || node.warnings?.length ? "warn" : "good";
}

function Strip({ nodes }) {
  if (!nodes.length) return html`<p class="quiet note">No node has joined. <a href=${link("fleet")}>How to add one</a></p>`;
  return html`<div class="fleet-strip">${nodes.map((node) => html`<a class="node-chip" key=${node.id} href=${link("fleet", node.id)}>
    <span class=${nodeTone(node) || "quiet"}><i class="dot" style=${{ display: "inline-block" }}></i></span>
    <span class="mono">${node.id.slice(-8)}</span><span class="quiet">${node.version}</span>
    ${node.connected ? html`<span>${rate(node.metrics?.requests_per_second ?? 0)}/s</span><span class="quiet">${node.lag?.topology || node.lag?.identity ? `${node.lag.topology + node.lag.identity} behind` : "current"}</span>` : html`<${Badge}>gone ${ago(node.last_seen)}<//>`}
  </a>`)}</div>`;
}
