// Every kind of resource that the API has, by its own description; and the editor that all pages use.
import { html, useState } from "../app/lib.js";
import { all, put, post, query, remove, useLoad } from "../app/api.js";
import { go, link } from "../app/router.js";
import { ago } from "../app/format.js";
import { Badge, Button, Card, Confirm, Dialog, Empty, Loaded, Message, Meter, Page, Segments, Wrong, sentence } from "../app/ui.js";
import { Fields, kinds, titled, useApi } from "../app/form.js";
import { notify, writing } from "../app/state.js";
import { Table } from "../app/table.js";
import { YamlError, read, write } from "../app/yaml.js";

const WAIT = { wait: "applied", timeout: "10s" };

/** What a person wrote, out of how the API shows it. */
export function documentOf(item, schema) {
  if (item.spec) return item.spec;
  const known = Object.keys(schema?.properties ?? {});
  const empty = (value) => value === null || (typeof value === "object" && Object.keys(value).length === 0);
  return Object.fromEntries(Object.entries(item).filter(([name, value]) => known.includes(name) && !empty(value)));
}

/** Makes or replaces one, and says how the nodes took it. */
export async function save(plural, document, isNew, { dryRun } = {}) {
  const search = query(dryRun ? { dry_run: true } : WAIT);
  const began = performance.now();
  const answer = isNew ? await post(`/admin/${plural}${search}`, document) : await put(`/admin/${plural}/${encodeURIComponent(document.name)}${search}`, document);
  return { ...answer, took: performance.now() - began };
}

export async function destroy(plural, name) {
  const began = performance.now();
  const answer = await remove(`/admin/${plural}/${encodeURIComponent(name)}${query(WAIT)}`);
  return { ...answer, took: performance.now() - began };
}

export function Resources({ parts }) {
  const api = useApi();
  return html`<${Page} title="All resources" about="Every kind that this gateway knows, with forms made of the API's own description." cli=${`gatewayctl get ${parts[0] ?? "providers"} -o yaml`}>
    <${Loaded} state=${api}>${(api) => {
      const known = kinds(api);
      const kind = known.find((one) => one.plural === (parts[0] ?? known[0].plural));
      return html`<nav class="tabs" aria-label="Kinds">${known.map((one) => html`<a href=${link("resources", one.plural)} aria-current=${one === kind ? "page" : undefined}>${titled(one.plural)}</a>`)}</nav>
        ${kind ? html`<${Kind} key=${kind.plural} api=${api} kind=${kind} name=${parts[1]} />` : html`<${Empty} title="This gateway has no such kind" />`}`;
    }}<//>
  <//>`;
}

function Kind({ api, kind, name }) {
  const state = useLoad(`all ${kind.plural}`, () => all(`/admin/${kind.plural}`));
  const [making, setMaking] = useState(false);
  const close = () => {
    setMaking(false);
    if (name) go("resources", kind.plural);
    state.reload();
  };
  const columns = [
    { name: "Name", cell: (item) => html`<span class="strong">${item.name}</span>` },
    { name: "Settings", className: "wide", cell: (item) => html`<span class="quiet">${summary(documentOf(item, kind.schema))}</span>` },
    { name: "Comes from", cell: (item) => (item.owner ? html`<${Badge}>${item.owner}<//>` : html`<span class="quiet">the API</span>`) },
    { name: "Revision", num: true, cell: (item) => item.revision },
    { name: "Changed", num: true, cell: (item) => ago(item.updated_at) },
  ];
  const add = html`<${Button} needs=${writing(kind.plural)} tone="main" icon="plus" onClick=${() => setMaking(true)}>New ${titled(kind.name).toLowerCase()}<//>`;
  return html`<${Loaded} state=${state}>${(items) => html`
    <${Card} flush title=${`${items.length} ${titled(kind.plural).toLowerCase()}`} aside=${add}>
      <${Table} label=${kind.plural} rows=${items} id=${(item) => item.id} columns=${columns} onOpen=${(item) => go("resources", kind.plural, item.name)}
        empty=${html`<${Empty} title=${`No ${titled(kind.plural).toLowerCase()} yet`}>${kind.schema.description?.replaceAll("`", "")}<//>`} />
    <//>
    ${(making || name) && html`<${Editor} api=${api} kind=${kind} item=${items.find((item) => item.name === name)} onClose=${close} />`}
  `}<//>`;
}

const summary = (document) => {
  const text = Object.entries(document).filter(([name]) => name !== "name").map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`).join(" · ");
  return text.length > 110 ? `${text.slice(0, 110)}…` : text;
};

/** Makes or changes one resource of any kind, by form or as text; a plan shows what would happen before it does. */
export function Editor({ api, kind, item, start = {}, skip = [], onClose, onSaved }) {
  const isNew = !item;
  const [value, setValue] = useState(() => (item ? { name: item.name, ...documentOf(item, kind.schema) } : start));
  const [mode, setMode] = useState("form");
  const [text, setText] = useState("");
  const [state, setState] = useState({ busy: false, error: null, plan: null, done: null });
  const [asking, setAsking] = useState(false);
  const change = (next) => {
    setValue(next);
    setState({ busy: false, error: null, plan: null, done: null });
  };
  const toMode = (wanted) => {
    if (wanted === mode) return;
    if (wanted === "text") setText(`${write(value)}\n`);
    else if (!take()) return;
    setMode(wanted);
  };
  /** The document as it stands in the editor; nothing where the text cannot be read. */
  const take = () => {
    if (mode === "form") return value;
    try {
      const found = read(text);
      if (!found || typeof found !== "object" || Array.isArray(found)) throw new YamlError(1, "expected `name: value` lines");
      setValue(found);
      return found;
    } catch (error) {
      setState({ busy: false, error: { message: error.message }, plan: null, done: null });
      return null;
    }
  };
  const run = async (dryRun) => {
    const document = take();
    if (!document) return;
    setState({ busy: true, error: null, plan: null, done: null });
    try {
      const answer = await save(kind.plural, document, isNew, { dryRun });
      setState({ busy: false, error: null, plan: dryRun ? answer : null, done: dryRun ? null : answer });
      if (!dryRun) onSaved?.(answer);
    } catch (error) {
      setState({ busy: false, error, plan: null, done: null });
    }
  };
  if (state.done) {
    const foot = html`<${Button} tone="main" onClick=${onClose}>Done<//>`;
    return html`<${Dialog} title=${`${titled(kind.name)} ${state.done.name}`} onClose=${onClose} foot=${foot}>
      <${Message} tone="good"><p>${{ create: "Made", update: "Changed", unchanged: "It was so already" }[state.done.change.op] ?? "Done"}, in revision ${state.done.change.revision.topology}.${state.done.change.revision.identity}.</p><//>
      <${Meter} rollout=${state.done.change.rollout} took=${state.done.took} /><${Warnings} problems=${state.done.change.problems} />
    <//>`;
  }
  const foot = html`${!isNew && html`<${Button} needs=${writing(kind.plural)} tone="plain danger" onClick=${() => setAsking(true)}>Delete<//>`}<span class="grow"></span>
    <${Button} busy=${state.busy} onClick=${() => run(true)}>Plan<//><${Button} needs=${writing(kind.plural)} tone="main" busy=${state.busy} onClick=${() => run(false)}>${isNew ? "Create" : "Save"}<//>`;
  if (asking) {
    return html`<${Confirm} title=${`Delete ${item.name}?`} verb="Delete" onClose=${() => setAsking(false)} act=${async () => {
      const answer = await destroy(kind.plural, item.name);
      notify(`${item.name} is deleted${answer.change?.rollout ? `, on ${answer.change.rollout.applied.length} nodes` : ""}`);
      onClose();
    }}><p>Requests that need it are refused from then on. An earlier revision of the configuration brings it back.</p><//>`;
  }
  return html`<${Dialog} wide title=${isNew ? `New ${titled(kind.name).toLowerCase()}` : `${titled(kind.name)} ${item.name}`} onClose=${onClose} foot=${foot}>
    <${Segments} label="Edit as" value=${mode} options=${[["form", "Form"], ["text", "YAML"]]} onValue=${toMode} />
    ${item?.owner && html`<${Message} tone="warn"><p>It comes from <code>${item.owner}</code>: the next time that is applied, what is changed here is undone.</p><//>`}
    ${mode === "form" ? html`<${Fields} api=${api} schema=${kind.schema} value=${value} onValue=${change} skip=${isNew ? skip : ["name", ...skip]} problems=${state.error?.problems} />` : html`<textarea class="input editor" aria-label="The document as YAML" spellcheck=${false} value=${text} onInput=${(event) => setText(event.target.value)}></textarea>`}
    <${Wrong} error=${state.error} />
    ${state.plan && html`<${Message} tone="good"><p>It would be ${{ create: "made", update: "changed", unchanged: "left as it is" }[state.plan.change.op] ?? state.plan.change.op}. Nothing has happened yet.</p><//><${Warnings} problems=${state.plan.change.problems} />`}
  <//>`;
}

export const Warnings = ({ problems }) => (problems?.length ? html`<${Message} tone="warn"><ul>${problems.map((problem) => html`<li><code>${problem.path}</code> ${sentence(problem.message)}</li>`)}</ul><//>` : null);
