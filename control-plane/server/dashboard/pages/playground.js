// Conversations on the path that applications take, with a key of one's choice, with several models side by side.
import { html, useEffect, useRef, useState } from "../app/lib.js";
import { all, useLoad } from "../app/api.js";
import { link } from "../app/router.js";
import { count, span } from "../app/format.js";
import { converse, models, temporaryKey } from "../app/public.js";
import { may, publicUrl, secrets, shownUrl } from "../app/state.js";
import { Badge, Button, Card, Choice, Empty, Field, Message, Page, Text, Wrong } from "../app/ui.js";

const MOST_LANES = 4;
const TEMPORARY = "temporary";
const PASTED = "pasted";
let nextLane = 0;

export function Playground() {
  const [which, setWhich] = useState(TEMPORARY);
  const [pasted, setPasted] = useState("");
  const [system, setSystem] = useState("");
  const [heat, setHeat] = useState("");
  const [most, setMost] = useState("");
  const [prompt, setPrompt] = useState("");
  const [lanes, setLanes] = useState(() => [{ id: nextLane++, model: "", turns: [] }]);
  const [known, setKnown] = useState({ data: [], error: null });
  const running = useRef(new Map());
  const made = Object.keys(secrets.value).filter((name) => typeof secrets.value[name] === "string");
  const named = useLoad("model choices", choices);

  const key = async () => (which === TEMPORARY ? temporaryKey() : which === PASTED ? pasted.trim() : secrets.value[which]);
  const load = async () => {
    try {
      const data = await models(await key());
      setKnown({ data, error: null });
      setLanes((before) => before.map((lane) => (lane.model || !data.length ? lane : { ...lane, model: data[0] })));
    } catch (error) {
      setKnown({ data: [], error });
    }
  };
  // A key of this page's own is made when something is asked, and not for looking.
  useEffect(() => void (which !== PASTED && which !== TEMPORARY && load()), [which]);
  useEffect(() => {
    const first = named.data?.[0];
    if (first) setLanes((before) => before.map((lane) => (lane.model ? lane : { ...lane, model: first })));
  }, [named.data]);
  useEffect(() => () => running.current.forEach((one) => one.abort()), []);

  const patchLane = (id, change) => setLanes((before) => before.map((lane) => (lane.id === id ? { ...lane, ...change(lane) } : lane)));
  const last = (change) => (lane) => ({ turns: [...lane.turns.slice(0, -1), { ...lane.turns.at(-1), ...change }] });
  const ask = async (lane, text) => {
    const control = new AbortController();
    running.current.set(lane.id, control);
    const history = [...lane.turns, { role: "user", content: text }];
    patchLane(lane.id, () => ({ turns: [...history, { role: "assistant", content: "", busy: true }] }));
    try {
      const sent = history.filter((turn) => turn.content).map(({ role, content }) => ({ role, content }));
      const messages = system ? [{ role: "system", content: system }, ...sent] : sent;
      const settings = { ...(heat && { temperature: Number(heat) }), ...(most && { max_tokens: Number(most) }) };
      const result = await converse({ key: await key(), model: lane.model, messages, settings, signal: control.signal, onText: (content) => patchLane(lane.id, last({ content })) });
      patchLane(lane.id, last({ busy: false, content: result.text, result }));
    } catch (error) {
      patchLane(lane.id, last({ busy: false, error: control.signal.aborted ? { message: "you stopped it" } : error }));
    }
    running.current.delete(lane.id);
  };
  const busy = lanes.some((lane) => lane.turns.at(-1)?.busy);
  const send = (event) => {
    event?.preventDefault();
    if (!prompt.trim() || busy) return;
    lanes.filter((lane) => lane.model).forEach((lane) => ask(lane, prompt));
    setPrompt("");
  };
  const onKey = (event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && send(event);
  const keys = [[TEMPORARY, "One that ends within the hour"], ...made.map((name) => [name, name]), [PASTED, "Another, pasted here"]];
  const example = JSON.stringify({ model: lanes[0].model || "…", stream: true, messages: [{ role: "user", content: prompt || "Hello" }] });
  const actions = html`<${Button} icon="plus" disabled=${lanes.length >= MOST_LANES} onClick=${() => setLanes([...lanes, { id: nextLane++, model: (known.data.length ? known.data : (named.data ?? []))[lanes.length] ?? "", turns: [] }])}>Compare with another<//>
    <${Button} onClick=${() => setLanes(lanes.map((lane) => ({ ...lane, turns: [] })))}>Clear<//>`;
  return html`<${Page} title="Playground" about="Requests go from this browser to the public API, with a virtual key, as an application's would. They are counted, limited and logged like any other." actions=${actions} cli=${`curl -N ${shownUrl}/v1/chat/completions -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' -d '${example.replaceAll("'", "'\\''")}'`}>
    ${!publicUrl && html`<${Message} tone="warn"><p>This control plane does not know where the gateway's public API is. Start it with <code>--public-url https://gateway.example.com</code>.</p><//>`}
    <${Wrong} error=${known.error} retry=${load} />
    <datalist id="models">${[...new Set([...(named.data ?? []), ...known.data])].map((name) => html`<option value=${name} />`)}</datalist>
    <div class="split" style=${{ gridTemplateColumns: undefined }}>
      <div class="stack">
        <div class="lanes">${lanes.map((lane) => html`<${Lane} key=${lane.id} lane=${lane} onModel=${(model) => patchLane(lane.id, () => ({ model }))} onStop=${() => running.current.get(lane.id)?.abort()} onClose=${lanes.length > 1 && (() => setLanes(lanes.filter((one) => one.id !== lane.id)))} />`)}</div>
        <form class="card" onSubmit=${send}><div class="body stack">
          <textarea class="input" rows="3" aria-label="Your message" placeholder="Say something. Enter sends, Shift+Enter makes a line." value=${prompt} onInput=${(event) => setPrompt(event.target.value)} onKeyDown=${onKey}></textarea>
          <div class="row"><span class="grow note quiet">${lanes.length > 1 ? `Asks ${lanes.length} models at once` : ""}</span><${Button} tone="main" icon="play" type="submit" busy=${busy} disabled=${!prompt.trim() || !lanes.some((lane) => lane.model)}>${busy ? "Answering…" : "Send"}<//></div></div></form>
      </div>
      <${Card} title="With"><div class="stack">
        <${Choice} label="Key" value=${which} onValue=${setWhich} options=${keys} hint="Secrets of other keys are not known here: only their digests are stored." />
        ${which === PASTED && html`<${Text} label="The key" type="password" value=${pasted} onValue=${setPasted} onChange=${load} placeholder="gw_virt_…" mono hint="Kept in this page's memory only." />`}
        <${Field} label="System prompt (optional)">${(tie) => html`<textarea class="input" rows="3" value=${system} onInput=${(event) => setSystem(event.target.value)} ...${tie}></textarea>`}<//>
        <div class="grid two"><${Text} label="Temperature" inputmode="decimal" value=${heat} onValue=${setHeat} placeholder="default" /><${Text} label="Most tokens" inputmode="numeric" value=${most} onValue=${setMost} placeholder="default" /></div>
      </div><//>
    </div>
  <//>`;
}

/** Names that a request can have, as far as the configuration says. */
export async function choices() {
  if (!may("config:read")) return [];
  const [models, providers] = await Promise.all([all("/admin/models"), all("/admin/providers")]);
  return [...models.map((item) => item.name), ...providers.filter((item) => item.spec.kind === "demo").map((item) => `${item.name}/chat`)];
}

function Lane({ lane, onModel, onStop, onClose }) {
  const box = useRef(null);
  useEffect(() => {
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lane.turns]);
  const busy = lane.turns.at(-1)?.busy;
  return html`<section class="card"><header><input class="input mono" list="models" aria-label="Model" placeholder="Model" value=${lane.model} onInput=${(event) => onModel(event.target.value)} />
      ${busy && html`<${Button} tone="small" onClick=${onStop}>Stop<//>`}${onClose && html`<${Button} tone="plain small" icon="close" label="Take this model away" onClick=${onClose} />`}</header>
    <div class="chat" ref=${box} aria-live="polite">${lane.turns.length === 0 && html`<${Empty} title="Nothing said yet">What the model says is shown as text, piece by piece as it comes.<//>`}
      ${lane.turns.map((turn, at) => html`<div key=${at} class="stack tight" style=${{ alignItems: turn.role === "user" ? "flex-end" : "stretch" }}>
        ${(turn.content || turn.busy) && html`<div class="bubble ${turn.role}">${turn.content || "…"}</div>`}
        ${turn.error && html`<${Wrong} error=${{ message: turn.error.status ? `the answer was ${turn.error.status}: ${turn.error.message}` : turn.error.message }} />`}
        ${turn.result && html`<div class="row tight wrap small quiet"><span>first piece ${turn.result.firstMs === null ? "–" : span(turn.result.firstMs * 1000)}</span><span>whole ${span(turn.result.totalMs * 1000)}</span>
          ${turn.result.usage && html`<span>${count(turn.result.usage.prompt_tokens)} in, ${count(turn.result.usage.completion_tokens)} out</span>`}${turn.result.reason && html`<${Badge}>${turn.result.reason}<//>`}
          ${turn.result.requestId && html`<a href=${link("requests", turn.result.requestId)}>request</a>`}</div>`}
      </div>`)}</div></section>`;
}
