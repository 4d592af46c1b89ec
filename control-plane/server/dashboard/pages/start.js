// The first minutes: a provider, a test of it, a key, a call, and the request seen as it arrives.
import { html, useEffect, useState } from "../app/lib.js";
import { all, follow, get, post, put, query, useLoad } from "../app/api.js";
import { link } from "../app/router.js";
import { money, span, time, tokens } from "../app/format.js";
import { secrets, shownUrl } from "../app/state.js";
import { Badge, Button, Card, Choice, Code, CopyButton, Message, Meter, Page, Text, Wrong } from "../app/ui.js";
import { Test } from "./providers.js";

const MOST_SEEN = 5;

export function Start() {
  const catalog = useLoad("catalog", () => get("/admin/catalog"));
  const providers = useLoad("providers", () => all("/admin/providers"));
  const [provider, setProvider] = useState(null);
  const [model, setModel] = useState(null);
  const [tested, setTested] = useState(null);
  const [key, setKey] = useState(null);
  const [seen, setSeen] = useState([]);
  useEffect(() => {
    const stream = follow({}, (record) => setSeen((before) => [record, ...before].slice(0, MOST_SEEN)), () => {});
    return () => stream.stop();
  }, []);
  const arrived = key && seen.find((record) => record.key_name === key.name);
  const now = !provider ? 1 : !model ? 2 : !key ? 3 : !arrived ? 4 : 6;
  return html`<${Page} title="Get started" about="From a provider's key to your first request, in a few minutes." cli="gatewayctl up">
    <${Step} number="1" title="Connect a provider" state=${[now, 1]} folds done=${provider && html`Requests can go to <b>${provider.name}</b>.`}>
      <${Connect} catalog=${catalog.data?.data ?? []} known=${providers.data ?? []} chosen=${provider} onChosen=${(chosen) => (setProvider(chosen), setModel(null), providers.reload())} /><//>
    <${Step} number="2" title="Test it" state=${[now, 2]} folds done=${model && html`<code>${model}</code> answered in ${span(tested.totalMs * 1000)}: “${tested.text.slice(0, 80)}…”`}>
      ${provider && html`<${Test} key=${provider.name} provider=${provider.name} model=${catalog.data?.data.find((row) => row.id === provider.spec.kind)?.model} onPassed=${(name, result) => (setTested(result), setModel(name))} />`}<//>
    <${Step} number="3" title="Make a key for your application" state=${[now, 3]} done=${key && html`<b>${key.name}</b> is made.`}><${MakeKey} made=${key} onMade=${setKey} /><//>
    <${Step} number="4" title="Send a request" state=${[now, 4]} done=${arrived && "It has arrived."}>
      ${key && html`<div class="stack"><${Code} text=${`curl -N ${shownUrl}/v1/chat/completions -H "Authorization: Bearer ${key.key}" -H 'Content-Type: application/json' -d '{"model":"${model ?? "MODEL"}","stream":true,"messages":[{"role":"user","content":"Say hello"}]}'`} wrapped />
        <p class="note quiet">Or take a recipe of <a href=${link("setup")}>your client</a>.</p></div>`}<//>
    <${Step} number="5" title="Watch it arrive" state=${[now, 5]}>
      ${arrived ? html`<div data-arrived><${Message} tone="good"><p>It works. <a href=${link("requests", arrived.id)}>Open the request</a> to see where its time went, or go to the <a href=${link("overview")}>overview</a>.</p><//></div>` : html`<p class="note quiet row tight"><span class="badge accent"><i class="dot live"></i>waiting</span> Requests show here the moment they end.</p>`}
      ${seen.map((record) => html`<div class="row wrap note" key=${record.id} style=${{ marginTop: "8px" }}><span>${time(record.started_unix_ms)}</span><${Badge} tone=${record.status < 400 ? "good" : "bad"}>${record.status}<//><b>${record.model || record.path}</b><span class="quiet">${record.key_name} · ${span(record.total_us)} · ${tokens(record.tokens)} tokens${record.priced ? ` · ${money(record.cost_nano_usd)}` : ""}</span></div>`)}<//>
  <//>`;
}

/** `folds`: what is done is put away, and can be looked at again. */
function Step({ number, title, state: [now, own], done, folds, children }) {
  const [open, setOpen] = useState(false);
  const tone = now > own ? "done" : now === own || (now === 4 && own === 5) ? "now" : "";
  return html`<section class="first ${tone}" data-step=${number}><div class="number">${tone === "done" ? "✓" : number}</div>
    <div class="stack"><div style=${{ minHeight: "30px" }}><h2>${title}</h2>${done && html`<p class="note quiet">${done}</p>`}</div>${tone === "done" && folds && !open ? html`<div><${Button} tone="small" onClick=${() => setOpen(true)}>Change<//></div>` : tone !== "" && children}</div></section>`;
}

function Connect({ catalog, known, chosen, onChosen }) {
  const [kind, setKind] = useState("openai");
  const [name, setName] = useState("");
  const [apiKey, setApiKey] = useState("");
  const [baseUrl, setBaseUrl] = useState("");
  const [state, setState] = useState({ busy: false, error: null, done: null });
  const row = catalog.find((one) => one.id === kind);
  const connect = async (event) => {
    event.preventDefault();
    setState({ busy: true, error: null, done: null });
    try {
      const document = { name: name.trim() || kind, kind, ...(apiKey && { api_key: apiKey.trim() }), ...(baseUrl && { base_url: baseUrl.trim() }) };
      const began = performance.now();
      const made = await post(`/admin/providers${query({ wait: "applied", timeout: "10s" })}`, document);
      setState({ busy: false, error: null, done: { ...made, took: performance.now() - began } });
      setApiKey("");
      onChosen(made);
    } catch (error) {
      setState({ busy: false, error, done: null });
    }
  };
  return html`<${Card}><form class="stack" onSubmit=${connect}>
    ${known.length > 0 && html`<div class="row wrap tight"><span class="note quiet">There already:</span>${known.map((item) => html`<${Button} key=${item.id} tone=${chosen?.name === item.name ? "main small" : "small"} onClick=${() => onChosen(item)}>Use ${item.name}<//>`)}</div>`}
    <div class="grid two">
      <${Choice} label="Provider" value=${kind} onValue=${setKind} options=${catalog.length ? catalog.map((one) => [one.id, one.title]) : ["openai"]} />
      <${Text} label="Name (optional)" hint="What it is called here." value=${name} onValue=${setName} placeholder=${kind} />
      <${Text} label="Key" type="password" hint=${row?.env.length ? `Often in ${row.env[0]}. Stored sealed, never shown again.` : "Stored sealed, never shown again."} value=${apiKey} onValue=${setApiKey} mono />
      <${Text} label=${row?.base_url ? "Address (optional)" : "Address"} value=${baseUrl} onValue=${setBaseUrl} placeholder=${row?.base_url ?? row?.base_url_form ?? "https://…"} required=${row && !row.base_url && kind !== "demo"} mono />
    </div>
    <${Wrong} error=${state.error} />
    ${state.done && html`<${Meter} rollout=${state.done.change.rollout} took=${state.done.took} />`}
    <div><${Button} tone=${chosen ? "" : "main"} type="submit" busy=${state.busy}>Connect<//></div></form><//>`;
}

function MakeKey({ made, onMade }) {
  const [name, setName] = useState("my-first-app");
  const [state, setState] = useState({ busy: false, error: null });
  const make = async (event) => {
    event.preventDefault();
    setState({ busy: true, error: null });
    try {
      const key = await post(`/admin/keys${query({ wait: "applied", timeout: "10s" })}`, { name });
      secrets.value = { ...secrets.value, [key.name]: key.key };
      setState({ busy: false, error: null });
      onMade(key);
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  if (made) return html`<${Card}><div class="stack"><${Message} tone="warn"><p>It is shown this once: put it where your application reads its secrets.</p><//><div class="secret"><code data-secret>${made.key}</code><${CopyButton} text=${made.key} /></div><${Meter} rollout=${made.change.rollout} /></div><//>`;
  return html`<${Card}><form class="stack" onSubmit=${make}><${Text} label="Name" hint="Of the application that will present it." value=${name} onValue=${setName} required /><${Wrong} error=${state.error} /><div><${Button} tone="main" type="submit" busy=${state.busy}>Create key<//></div></form><//>`;
}
