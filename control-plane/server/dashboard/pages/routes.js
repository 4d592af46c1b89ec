// Rules in the order in which they are tried, and a simulator that says where a request would go.
import { html, useEffect, useState } from "../app/lib.js";
import { all, patch, post, useLoad } from "../app/api.js";
import { go, place } from "../app/router.js";
import { money } from "../app/format.js";
import { Badge, Button, Card, Cli, Empty, Field, Loaded, Message, Page, Select, Text, Wrong, sentence } from "../app/ui.js";
import { kinds, titled, useApi } from "../app/form.js";
import { notify } from "../app/state.js";
import { Editor } from "./resources.js";

const order = (route, at) => route.spec.order ?? at;

export function Routes({ parts }) {
  const state = useLoad("routes", async () => (await all("/admin/routes")).map((item, at) => ({ item, at })).sort((a, b) => order(a.item, a.at) - order(b.item, b.at)).map(({ item }) => item));
  const api = useApi();
  const [making, setMaking] = useState(false);
  const [told, setTold] = useState(null);
  const kind = api.data && kinds(api.data).find((one) => one.plural === "routes");
  /** Everything up to the one that moves gets a number, so that the order stands. */
  const move = async (routes, from, by) => {
    const wanted = [...routes];
    wanted.splice(from + by, 0, ...wanted.splice(from, 1));
    try {
      for (const [at, route] of wanted.entries()) {
        const number = (at + 1) * 10;
        if (route.spec.order !== number) await patch(`/admin/routes/${encodeURIComponent(route.name)}`, { order: number });
      }
      notify("The order is changed");
    } catch (error) {
      notify(sentence(error.message), "bad");
    }
    state.reload();
  };
  const add = html`<${Button} needs="config:write" tone="main" icon="plus" onClick=${() => setMaking(true)}>New route<//>`;
  return html`<${Page} title="Routes" about="The first rule that fits a request decides which model serves it. Where none fits, the model that the request names is used." actions=${add} cli="gatewayctl get routes && gatewayctl explain --dry-run -d '{…}'">
    <div class="split">
      <${Loaded} state=${state}>${(routes) => {
        const selected = routes.find((route) => route.name === parts[0]);
        return html`<${Card} title="In this order">${routes.length === 0
            ? html`<${Empty} title="No routes" action=${add}>Requests go to the model that they name. A route sends some of them elsewhere: by header, key, tag, size, time of day or what the request needs.<//>`
            : html`<div class="stack tight">${routes.map((route, at) => {
                const tried = told?.routes.find((one) => one.route === route.name || one.name === route.name);
                return html`<div class="target" key=${route.id}><span class="place">${at + 1}</span>
                  <button type="button" class="button plain" style=${{ justifyContent: "flex-start", height: "auto", padding: "2px 6px", minWidth: 0 }} onClick=${() => go("routes", route.name)}><span class="cut" style=${{ textAlign: "left" }}><b style=${{ color: "var(--text)" }}>${route.name}</b><span class="small quiet" style=${{ display: "block", fontWeight: 400 }}>${matcher(route.spec.match)} → ${route.spec.model ?? "the model it names"}</span></span></button>
                  <span class="row tight">${tried && html`<${Badge} tone=${tried.matches ? "good" : ""}>${tried.matches ? "fits" : "does not fit"}<//>`}
                    <${Button} tone="plain small" icon="up" label=${`Move ${route.name} up`} disabled=${at === 0} onClick=${() => move(routes, at, -1)} /><${Button} tone="plain small" icon="down" label=${`Move ${route.name} down`} disabled=${at === routes.length - 1} onClick=${() => move(routes, at, 1)} /></span></div>`;
              })}</div>`}<//>
          ${(selected || making) && kind && html`<${Editor} key=${selected?.id ?? "new"} api=${api.data} kind=${kind} item=${selected} start=${{ name: "", match: {} }} onClose=${() => (setMaking(false), go("routes"), state.reload())} />`}`;
      }}<//>
      <${Simulator} onTold=${setTold} />
    </div>
  <//>`;
}

function matcher(match) {
  const parts = Object.entries(match ?? {}).map(([name, value]) => `${titled(name).toLowerCase()} ${words(value)}`);
  return parts.length ? parts.join(", ") : "every request";
}

/** `{"x-tenant": {"exact": "acme"}}` as `x-tenant is acme`. */
function words(value) {
  if (Array.isArray(value)) return value.join(" or ");
  if (!value || typeof value !== "object") return String(value);
  return Object.entries(value).map(([name, one]) => (name === "exact" ? `is ${one}` : `${name} ${words(one)}`)).join(", ");
}

function Simulator({ onTold }) {
  const [model, setModel] = useState(place.value.search.get("model") ?? "");
  const [key, setKey] = useState("");
  const [headers, setHeaders] = useState("");
  const [prompt, setPrompt] = useState("Hello");
  const [state, setState] = useState({ busy: false, error: null, told: null });
  const keys = useLoad("keys", () => all("/admin/keys"));
  const run = async (event) => {
    event?.preventDefault();
    setState({ busy: true, error: null, told: null });
    try {
      const named = Object.fromEntries(headers.split("\n").filter((line) => line.includes(":")).map((line) => [line.slice(0, line.indexOf(":")).trim(), line.slice(line.indexOf(":") + 1).trim()]));
      const told = await post("/admin/explain", { key: key || undefined, headers: named, body: { model, messages: [{ role: "user", content: prompt }] } });
      setState({ busy: false, error: null, told });
      onTold(told);
    } catch (error) {
      setState({ busy: false, error, told: null });
    }
  };
  useEffect(() => void (model && run()), []);
  return html`<div class="stack"><${Card} title="Simulator" aside=${html`<span class="note quiet">Nothing is sent</span>`}><form class="stack" onSubmit=${run}>
      <${Text} label="Model it asks for" value=${model} onValue=${setModel} placeholder="gpt-5 or provider/model" mono required />
      <${Field} label="Key that asks">${(tie) => html`<${Select} value=${key} onValue=${setKey} options=${[["", "somebody who may use everything"], ...(keys.data ?? []).map((one) => [one.name, one.name])]} ...${tie} />`}<//>
      <${Field} label="Headers" hint="One on a line: name: value">${(tie) => html`<textarea class="input mono" rows="2" value=${headers} onInput=${(event) => setHeaders(event.target.value)} ...${tie}></textarea>`}<//>
      <${Field} label="Prompt">${(tie) => html`<textarea class="input" rows="2" value=${prompt} onInput=${(event) => setPrompt(event.target.value)} ...${tie}></textarea>`}<//>
      <${Button} tone="main" type="submit" busy=${state.busy}>Where would it go?<//>
      <${Cli} command=${`gatewayctl explain --dry-run -d '${JSON.stringify({ model: model || "…", messages: [] })}'`} /></form><//>
    <${Wrong} error=${state.error} />
    ${state.told && html`<${Told} told=${state.told} />`}
  </div>`;
}

function Told({ told }) {
  if (told.refused) return html`<${Message} tone="bad"><p><b>Refused with ${told.refused.status} ${told.refused.code}.</b> ${sentence(told.refused.message)}</p><//>`;
  return html`<${Card} title="Decision" aside=${html`<${Badge}>revision ${told.revision}<//>`}><div class="stack">
    <ul class="steps">
      ${told.routes.map((route) => html`<li class=${route.matches ? "good" : ""}>Route <b>${route.route ?? route.name}</b> ${route.matches ? "fits" : `does not fit: ${route.field ?? "something"}${route.wanted ? ` should be ${route.wanted}` : ""}${route.given ? `, is ${route.given}` : ""}`}</li>`)}
      ${!told.route && html`<li>No route fits: the model that the request names</li>`}
      ${told.auto_choice && html`<li class="accent">The gateway chooses the model</li>`}
      ${told.experiment && html`<li class="accent">An experiment decides</li>`}
      <li class="good">Model <b>${told.model}</b></li>
    </ul>
    ${told.candidates.map((one, at) => html`<div class="target ${one.asked ? "" : "skipped"}" key=${at}><span class="place">${at + 1}</span>
      <div class="grow"><div class="strong cut">${one.provider}/${one.model}</div><div class="small quiet">${one.skip ?? one.strategy}${one.score !== null ? ` · score ${one.score}` : ""}</div></div>
      <span class="note nowrap">${one.cost_nano_usd !== null ? `≤ ${money(one.cost_nano_usd)}` : ""}</span></div>`)}
    <p class="small quiet">${told.notes.map(sentence).join(" ")}</p></div><//>`;
}
