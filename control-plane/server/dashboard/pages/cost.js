// What was used and what it cost, by day.
import { html, useMemo, useState } from "../app/lib.js";
import { spending, useLoad } from "../app/api.js";
import { link, place, setSearch } from "../app/router.js";
import { may } from "../app/state.js";
import { count, money, percent, rate } from "../app/format.js";
import { Bar, Button, Card, Empty, Loaded, Page, Segments, Select, Stat } from "../app/ui.js";
import { COLOURS, Chart, Legend } from "../app/chart.js";
import { Table } from "../app/table.js";
import { Reprice } from "./reprice.js";

const N_SERIES = 7;
const DAY_S = 86_400;
const BY = { model: "By model", key: "By key", provider: "By provider", team: "By team", user: "By user", organization: "By organization", tag: "By tag" };
/** What requests can be found by. */
const FINDS = new Set(["model", "key", "provider"]);
const MEASURES = [["cost_nano_usd", "Cost"], ["requests", "Requests"], ["tokens", "Tokens"]];

export function Cost() {
  const search = place.value.search;
  const by = search.get("by") ?? "model";
  const days = Number(search.get("days") ?? 30);
  const state = useLoad(`daily ${by} ${days}`, () => spending(by, days), 30_000);
  const costs = state.data?.data.some((row) => row.cost_nano_usd > 0) ?? true;
  const measure = search.get("measure") ?? (costs ? "cost_nano_usd" : "requests");
  const set = (name) => (value) => setSearch({ by, days, measure, [name]: value });
  const [repricing, setRepricing] = useState(false);
  const actions = html`<${Button} needs="money:write" onClick=${() => setRepricing(true)}>Reprice<//><${Select} className="auto" aria-label="By" value=${by} options=${Object.entries(BY)} onValue=${set("by")} />
    <${Segments} label="Days" value=${days} options=${[[7, "7 d"], [30, "30 d"], [90, "90 d"]]} onValue=${set("days")} />`;
  return html`<${Page} title="Usage & cost" about="Sums by day (UTC), kept when single records are long gone. Each request counts once." actions=${actions} cli=${`gatewayctl spend --by ${by},day`}>
    <${Loaded} state=${state} lines=${6}>${(data) => html`<${Sums} data=${data} by=${by} days=${days} measure=${measure} onMeasure=${set("measure")} />`}<//>
    ${repricing && html`<${Reprice} onClose=${(isWritten) => (setRepricing(false), isWritten && state.reload())} />`}
  <//>`;
}

const withTokens = (row) => ({ ...row, tokens: row.input + row.cache_read + row.output });

function Sums({ data, by, days, measure, onMeasure }) {
  const view = useMemo(() => {
    const names = new Map();
    const today = Date.parse(data.today) / 1000;
    const times = Array.from({ length: days }, (_, at) => today - (days - 1 - at) * DAY_S);
    const index = new Map(times.map((time, at) => [time, at]));
    for (const row of data.data.map(withTokens)) {
      const name = row.name || "none";
      const sum = names.get(name) ?? { name, requests: 0, input: 0, cache_read: 0, output: 0, tokens: 0, cost_nano_usd: 0, saved_nano_usd: 0, values: times.map(() => 0) };
      for (const field of ["requests", "input", "cache_read", "output", "tokens", "cost_nano_usd", "saved_nano_usd"]) sum[field] += row[field];
      const at = index.get(Date.parse(row.day) / 1000);
      if (at !== undefined) sum.values[at] += row[measure];
      names.set(name, sum);
    }
    const rows = [...names.values()].sort((a, b) => b[measure] - a[measure] || b.requests - a.requests);
    const series = rows.slice(0, N_SERIES).map((row, at) => ({ name: row.name, values: row.values, colour: COLOURS[at] }));
    if (rows.length > N_SERIES) {
      const rest = rows.slice(N_SERIES);
      series.push({ name: `${rest.length} others`, values: times.map((_, at) => rest.reduce((all, row) => all + row.values[at], 0)), colour: COLOURS[7] });
    }
    return { rows, series, times };
  }, [data, days, measure]);
  if (!view.rows.length) {
    return html`<${Card}><${Empty} title="Nothing was used in these days" action=${html`<a class="button main" href=${link("playground")}>Try the playground</a>`}>Tokens and cost appear here as soon as requests are settled. Cost needs prices: the catalogue has those of well-known models, yours are under Prices.<//><//>`;
  }
  const all = (field) => view.rows.reduce((sum, row) => sum + row[field], 0);
  const today = data.data.filter((row) => row.day === data.today).reduce((sum, row) => sum + row.cost_nano_usd, 0);
  const format = measure === "cost_nano_usd" ? money : count;
  const label = by[0].toUpperCase() + by.slice(1);
  const columns = [
    { name: label, cell: (row) => (row.name === "none" ? html`<span class="quiet">none</span>` : FINDS.has(by) && may("requests:read") ? html`<a href=${link("requests", { [by]: row.name })}>${row.name}</a>` : row.name) },
    { name: "Share", cell: (row) => html`<div style=${{ minWidth: "90px" }}><${Bar} share=${all(measure) ? row[measure] / all(measure) : 0} label=${percent(row[measure], all(measure))} /></div>` },
    { name: "Requests", num: true, cell: (row) => count(row.requests) },
    { name: "Input", num: true, cell: (row) => count(row.input) },
    { name: "From cache", num: true, cell: (row) => percent(row.cache_read, row.input + row.cache_read) },
    { name: "Output", num: true, cell: (row) => count(row.output) },
    { name: "Cost", num: true, cell: (row) => html`<span class="strong">${money(row.cost_nano_usd)}</span>` },
  ];
  return html`<${Card} flush><div class="stats">
      <${Stat} name=${`Cost, ${days} days`} figure=${money(all("cost_nano_usd"))} under=${`${money(today)} today`} />
      <${Saved} nano=${all("saved_nano_usd")} cost=${all("cost_nano_usd")} />
      <${Stat} name="Requests" figure=${count(all("requests"))} under=${`${rate(all("requests") / days)} a day`} />
      <${Stat} name="Input tokens" figure=${count(all("input") + all("cache_read"))} under=${`${percent(all("cache_read"), all("input") + all("cache_read"))} from providers' caches`} />
      <${Stat} name="Output tokens" figure=${count(all("output"))} under=${all("requests") ? `${count(Math.round(all("output") / all("requests")))} a request` : ""} />
    </div><//>
    <${Card} title=${`${MEASURES.find(([name]) => name === measure)[1]} by day`} aside=${html`<${Segments} label="Measure" value=${measure} options=${MEASURES} onValue=${onMeasure} />`}>
      <div class="stack"><${Chart} stacked height=${260} label=${`${measure} by day`} times=${view.times} series=${view.series} format=${format} /><${Legend} series=${view.series} /></div><//>
    <${Card} flush title=${`By ${label.toLowerCase()}`} aside=${html`<${Button} tone="small" onClick=${() => download(view.rows, by)}>CSV<//>`}><${Table} label="Sums" rows=${view.rows} id=${(row) => row.name} columns=${columns} /><//>`;
}

/** Against the first target of the model that was asked for; below zero what was chosen cost more. */
function Saved({ nano, cost }) {
  const name = "Saved by routing and cache";
  if (!nano) return html`<${Stat} name=${name} figure="–" under="Nothing yet: a model's first target served all, or prices are missing" />`;
  if (nano < 0) return html`<${Stat} name=${name} figure=${`−${money(-nano)}`} under="Others cost more than the first target would have" />`;
  return html`<${Stat} name=${name} figure=${money(nano)} under=${`${percent(nano, nano + cost)} off what first targets would have cost`} />`;
}

/** Names that a spreadsheet would run as a formula get a quote before them. */
function download(rows, by) {
  const harmless = (name) => name.replace(/^[=+\-@\t]/, "'$&");
  const cell = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const lines = [[by, "requests", "input", "cache_read", "output", "cost_usd", "saved_usd"], ...rows.map((row) => [harmless(row.name), row.requests, row.input, row.cache_read, row.output, (row.cost_nano_usd / 1e9).toFixed(9), (row.saved_nano_usd / 1e9).toFixed(9)])];
  const url = URL.createObjectURL(new Blob([lines.map((line) => line.map(cell).join(",")).join("\r\n")], { type: "text/csv" }));
  const anchor = Object.assign(document.createElement("a"), { href: url, download: `usage-by-${by}.csv` });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
