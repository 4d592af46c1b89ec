// The configuration as a whole: history, differences, the way back, and a file applied with its plan seen first.
import { html, useState } from "../app/lib.js";
import { all, get, post, query, useLoad } from "../app/api.js";
import { link, place, setSearch } from "../app/router.js";
import { ago, exact } from "../app/format.js";
import { Badge, Button, Card, Check, Confirm, Empty, Loaded, Message, Meter, Page, Text, Wrong } from "../app/ui.js";
import { kinds, singular, useApi } from "../app/form.js";
import { notify } from "../app/state.js";
import { Table } from "../app/table.js";
import { read, write } from "../app/yaml.js";
import { Warnings, documentOf } from "./resources.js";

const WAIT = { wait: "applied", timeout: "10s" };

export function Config() {
  const tab = place.value.search.get("tab") ?? "history";
  const tabs = [["history", "History"], ["apply", "Apply a file"], ["export", "As it is"]];
  return html`<${Page} title="Configuration" about="Every change is a revision: whole, in order, and with a way back." cli=${{ history: "gatewayctl config history && gatewayctl config rollback --to previous", apply: "gatewayctl apply -f gateway.yaml --dry-run", export: "gatewayctl get providers -o yaml" }[tab]}>
    <nav class="tabs" aria-label="Configuration">${tabs.map(([name, text]) => html`<a href=${link("config", { tab: name })} aria-current=${name === tab ? "page" : undefined}>${text}</a>`)}</nav>
    ${tab === "history" && html`<${History} />`}${tab === "apply" && html`<${Apply} />`}${tab === "export" && html`<${Export} />`}
  <//>`;
}

function History() {
  const state = useLoad("revisions", () => get("/admin/config/revisions?limit=100"));
  const chosen = Number(place.value.search.get("revision")) || state.data?.data[0]?.revision;
  const columns = [
    { name: "Revision", cell: (row) => html`<span class="strong">${row.revision}</span>${row.revision === state.data.data[0].revision && html` <${Badge} tone="good">now<//>`}` },
    { name: "What", cell: (row) => row.summary },
    { name: "Who", cell: (row) => row.actor },
    { name: "When", num: true, cell: (row) => html`<span title=${exact(row.at)}>${ago(row.at)}</span>` },
  ];
  return html`<${Loaded} state=${state}>${({ data }) => html`<div class="split even">
    <${Card} flush title="Revisions"><${Table} label="Revisions" rows=${data} id=${(row) => row.revision} columns=${columns} onOpen=${(row) => setSearch({ tab: "history", revision: row.revision })}
      empty=${html`<${Empty} title="Nothing was ever changed">The first change makes revision 1.<//>`} /><//>
    ${chosen && html`<${Revision} key=${chosen} revision=${chosen} newest=${data[0]?.revision} onChange=${state.reload} />`}
  </div>`}<//>`;
}

function Revision({ revision, newest, onChange }) {
  const [against, setAgainst] = useState("before");
  const [asking, setAsking] = useState(false);
  const [done, setDone] = useState(null);
  const range = against === "before" ? { from: revision - 1, to: revision } : { from: newest, to: revision };
  const state = useLoad(`diff ${range.from} ${range.to}`, () => get(`/admin/config/diff${query(range)}`));
  const back = async () => {
    const began = performance.now();
    const answer = await post(`/admin/config/rollback${query(WAIT)}`, { to: revision });
    setDone({ ...answer, took: performance.now() - began });
    notify(`Topology is what it was in revision ${revision}`);
    onChange();
  };
  const aside = revision !== newest && html`<${Button} needs="config:write" tone="small" onClick=${() => setAsking(true)}>Go back to it<//>`;
  return html`<${Card} title=${`Revision ${revision}`} aside=${aside}><div class="stack">
    ${revision !== newest && html`<div class="segments" role="group" aria-label="Compare"><button type="button" aria-pressed=${against === "before"} onClick=${() => setAgainst("before")}>What it changed</button><button type="button" aria-pressed=${against === "now"} onClick=${() => setAgainst("now")}>What going back would change</button></div>`}
    ${done && html`<${Meter} rollout=${done.rollout} took=${done.took} />`}
    <${Loaded} state=${state}>${({ changes }) => html`<${Changes} changes=${changes} />`}<//></div>
    ${asking && html`<${Confirm} title=${`Go back to revision ${revision}?`} verb="Go back" onClose=${() => setAsking(false)} act=${back}><p>Providers, models, routes, prices and settings become what they were then, in a new revision. Keys are not touched. The revisions between stay in the history.</p><//>`}
  <//>`;
}

const OPS = { create: ["good", "made"], update: ["info", "changed"], delete: ["bad", "deleted"], unchanged: ["", "as it was"] };

/** What changes, one block for each resource. Values are what the API says, without secrets. */
export function Changes({ changes }) {
  if (!changes?.length) return html`<p class="quiet note">Nothing differs.</p>`;
  return changes.map((change) => html`<div class="stack tight" key=${`${change.kind}/${change.name}`}>
    <div class="row tight note"><${Badge} tone=${(OPS[change.op] ?? [""])[0]}>${(OPS[change.op] ?? ["", change.op])[1]}<//><b>${change.kind}</b> ${change.name}</div>
    ${change.diff?.length > 0 && html`<div class="diff">${change.diff.map((line) => html`<div class="path">${line.path}</div>
      ${line.before !== undefined && line.before !== null && html`<div class="minus">− ${shown(line.before)}</div>`}${line.after !== undefined && line.after !== null && html`<div class="plus">+ ${shown(line.after)}</div>`}`)}</div>`}
  </div>`);
}

const shown = (value) => (typeof value === "string" ? value : write(value));

const SAMPLE = `# As for \`gatewayctl apply -f\`. Plan first: nothing happens until you apply.
models:
  - name: smart
    strategy: weighted
    targets:
      - provider: demo
        model: chat
`;

/** A file's members are kinds by their plurals; each becomes resources. */
export function resourcesOf(file, known) {
  if (!file || typeof file !== "object" || Array.isArray(file)) throw new Error("expected kinds and their lists, like `models:`");
  return Object.entries(file).flatMap(([plural, members]) => {
    if (plural === "version") return [];
    if (plural === "settings") return [{ kind: "setting", spec: members ?? {} }];
    const kind = known.find((one) => one.plural === plural);
    if (!kind) throw new Error(`there is no kind \`${plural}\`; there are settings, ${known.map((one) => one.plural).join(", ")}`);
    if (!Array.isArray(members)) throw new Error(`\`${plural}\` must be a list`);
    return members.map((spec) => ({ kind: singular(plural), spec }));
  });
}

function Apply() {
  const api = useApi();
  const [text, setText] = useState(SAMPLE);
  const [source, setSource] = useState("dashboard");
  const [prune, setPrune] = useState(false);
  const [state, setState] = useState({ busy: false, error: null, plan: null, done: null });
  const run = async (dryRun) => {
    setState({ busy: true, error: null, plan: null, done: null });
    try {
      const resources = resourcesOf(read(text), kinds(api.data));
      const began = performance.now();
      const answer = await post(`/admin/apply${query(dryRun ? { dry_run: true } : WAIT)}`, { source, prune, resources });
      setState({ busy: false, error: null, plan: dryRun ? answer : null, done: dryRun ? null : { ...answer, took: performance.now() - began } });
    } catch (error) {
      setState({ busy: false, error, plan: null, done: null });
    }
  };
  const answer = state.plan ?? state.done;
  return html`<div class="split even"><${Card} title="File"><div class="stack">
      <textarea class="input editor" aria-label="Configuration as YAML or JSON" spellcheck=${false} value=${text} onInput=${(event) => (setText(event.target.value), setState({ busy: false, error: null, plan: null, done: null }))}></textarea>
      <${Text} label="Source" hint="What is applied belongs to it: a later apply of the same source may change and prune it." value=${source} onValue=${setSource} />
      <${Check} checked=${prune} onValue=${setPrune}>Delete what this source applied before and does not name any more<//>
      <div class="row"><${Button} needs="config:write" busy=${state.busy} disabled=${!api.data} onClick=${() => run(true)}>Plan<//><${Button} needs="config:write" tone="main" busy=${state.busy} disabled=${!api.data} onClick=${() => run(false)}>Apply<//></div>
    </div><//>
    <${Card} title=${state.done ? "Applied" : "Plan"}><div class="stack">
      <${Wrong} error=${state.error} />
      ${!answer && !state.error && html`<${Empty} title="Nothing planned">A plan validates the whole configuration with the same code that nodes use, and shows what would be made, changed and deleted.<//>`}
      ${answer && html`${state.done ? html`<${Message} tone="good"><p>Revision ${answer.revision.topology}.${answer.revision.identity} runs.</p><//><${Meter} rollout=${answer.rollout} took=${state.done.took} />` : html`<${Message}><p>This would happen. Nothing has happened yet.</p><//>`}
        <${Warnings} problems=${answer.problems} /><${Changes} changes=${answer.changes} />
        ${answer.minted?.map((key) => html`<div class="secret" key=${key.id}><span>${key.name}</span><code>${key.key}</code></div>`)}`}
    </div><//></div>`;
}

function Export() {
  const api = useApi();
  const state = useLoad("whole configuration", async () => {
    const known = kinds(await get("/openapi.json"));
    const file = {};
    const { spec } = await get("/admin/settings");
    if (Object.keys(spec).length) file.settings = spec;
    for (const kind of known) {
      if (kind.plural === "keys") continue;
      const items = await all(`/admin/${kind.plural}`);
      if (items.length) file[kind.plural] = items.map((item) => documentOf(item, kind.schema));
    }
    return write(file);
  });
  return html`<${Card} title="Everything but keys" aside=${html`<span class="note quiet">Secrets are never shown: name them as \${VARIABLES} in a file</span>`}><${Loaded} state=${state}>${(text) => html`<pre class="input editor" style=${{ overflow: "auto", whiteSpace: "pre", margin: 0 }} tabindex="0">${text}</pre>`}<//><//>`;
}
