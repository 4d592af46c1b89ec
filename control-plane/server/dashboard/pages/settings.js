// What holds for the whole gateway, this session, and what the control plane is.
import { html, useState } from "../app/lib.js";
import { get, put, query, useLoad } from "../app/api.js";
import { link } from "../app/router.js";
import { exact } from "../app/format.js";
import { publicUrl, session } from "../app/state.js";
import { Button, Card, Loaded, Message, Meter, Page, Segments, Wrong } from "../app/ui.js";
import { Fields, resolve, useApi } from "../app/form.js";
import { read, write } from "../app/yaml.js";
import { Warnings } from "./resources.js";

export function Settings() {
  const api = useApi();
  const state = useLoad("settings", () => get("/admin/settings"));
  const status = useLoad("status", () => get("/admin/status"));
  return html`<${Page} title="Settings" about="What holds for the whole gateway. A change reaches every node without a restart." cli="gatewayctl describe settings">
    <div class="split">
      <${Loaded} state=${state}>${(item) => html`<${Loaded} state=${api}>${(api) => html`<${Edit} key=${item.revision} api=${api} item=${item} onSaved=${state.reload} />`}<//>`}<//>
      <div class="stack">
        <${Card} title="You"><div class="stack"><p class="note">Signed in as <b>${session.value?.actor.replace(/^(user|oidc):/, "")}</b> until ${exact(session.value?.expires_at)}.</p><p class="quiet note">Password, sessions, light or dark: all that is yours is in <a href=${link("account")}>your account</a>.</p></div><//>
        <${Card} title="This control plane"><${Loaded} state=${status}>${(status) => html`<dl class="facts"><dt>Version</dt><dd>${status.version}</dd><dt>Started</dt><dd>${exact(status.started_at)}</dd><dt>Public API</dt><dd class="mono small">${publicUrl || "not known: --public-url"}</dd><dt>Epoch</dt><dd class="mono small">${status.epoch}</dd></dl>`}<//>
          <p class="small quiet" style=${{ marginTop: "12px" }}>Metrics for Prometheus are at <a href="/metrics">/metrics</a>, the API's reference at <a href="/docs">/docs</a>.</p><//>
      </div>
    </div>
  <//>`;
}

function Edit({ api, item, onSaved }) {
  const schema = resolve(api, { $ref: "#/components/schemas/Settings" });
  const [value, setValue] = useState(item.spec);
  const [mode, setMode] = useState("form");
  const [text, setText] = useState("");
  const [state, setState] = useState({ busy: false, error: null, plan: null, done: null });
  const run = async (dryRun) => {
    setState({ busy: true, error: null, plan: null, done: null });
    try {
      const document = mode === "form" ? value : (read(text) ?? {});
      const began = performance.now();
      const answer = await put(`/admin/settings${query(dryRun ? { dry_run: true } : { wait: "applied", timeout: "10s" })}`, document);
      setState({ busy: false, error: null, plan: dryRun ? answer : null, done: dryRun ? null : { ...answer, took: performance.now() - began } });
      if (!dryRun) onSaved();
    } catch (error) {
      setState({ busy: false, error, plan: null, done: null });
    }
  };
  const toMode = (wanted) => {
    try {
      if (wanted === "text") setText(`${write(value)}\n`);
      else setValue(read(text) ?? {});
      setMode(wanted);
    } catch (error) {
      setState({ busy: false, error, plan: null, done: null });
    }
  };
  return html`<${Card} title="Gateway" aside=${html`<${Segments} label="Edit as" value=${mode} options=${[["form", "Form"], ["text", "YAML"]]} onValue=${toMode} />`}><div class="stack">
    ${item.owner && html`<${Message} tone="warn"><p>They come from <code>${item.owner}</code>: the next time that is applied, what is changed here is undone.</p><//>`}
    ${mode === "form" ? html`<${Fields} api=${api} schema=${schema} value=${value} onValue=${setValue} problems=${state.error?.problems} />` : html`<textarea class="input editor" aria-label="Settings as YAML" spellcheck=${false} value=${text} onInput=${(event) => setText(event.target.value)}></textarea>`}
    <${Wrong} error=${state.error} />
    ${state.plan && html`<${Message}><p>They would be ${state.plan.change.op === "unchanged" ? "left as they are" : "changed"}. Nothing has happened yet.</p><//><${Warnings} problems=${state.plan.change.problems} />`}
    ${state.done && html`<${Meter} rollout=${state.done.change.rollout} took=${state.done.took} /><${Warnings} problems=${state.done.change.problems} />`}
    <div class="row"><${Button} busy=${state.busy} onClick=${() => run(true)}>Plan<//><${Button} needs="config:write" tone="main" busy=${state.busy} onClick=${() => run(false)}>Save<//></div></div><//>`;
}
