// One's own account: who one is here, what one may do, one's password, one's sessions, how this browser looks.
import { html, useState } from "../app/lib.js";
import { get, put, signOut, useLoad } from "../app/api.js";
import { ago, exact } from "../app/format.js";
import { notify, session, setTheme, theme } from "../app/state.js";
import { Badge, Button, Card, Cli, Loaded, Page, Segments, Text, Wrong } from "../app/ui.js";
import { useApi } from "../app/form.js";
import { Role, Sessions, roles } from "./people.js";

const LEAST = 10;

export function Account() {
  const { actor, role, teams, began_at, expires_at, permissions } = session.value ?? {};
  const api = useApi();
  const about = roles(api.data).find(([name]) => name === role)?.[1];
  return html`<${Page} title="Your account" about="Who you are here, and what you may do.">
    <div class="split even">
      <div class="stack">
        <${Card} title="You"><div class="stack"><dl class="facts">
          <dt>Signed in as</dt><dd class="strong">${actor?.replace(/^(user|oidc):/, "")}</dd>
          <dt>By</dt><dd>${way(actor)}</dd>
          <dt>Role</dt><dd><${Role} name=${role} /> <span class="quiet">${about}</span></dd>
          ${teams?.length > 0 && html`<dt>Leads</dt><dd>${teams.join(", ")}</dd>`}
          <dt>Since</dt><dd>${exact(began_at)} (${ago(began_at)})</dd><dt>Until</dt><dd>${exact(expires_at)} (${ago(expires_at)})</dd></dl>
          <div class="row"><${Button} icon="out" onClick=${() => signOut().catch((error) => notify(error.message, "bad"))}>Sign out here<//></div></div><//>
        <${Card} title="Appearance"><div class="row wrap"><span class="note grow">Light or dark, in this browser</span><${Segments} label="Theme" value=${theme.value} options=${[["system", "System"], ["light", "Light"], ["dark", "Dark"]]} onValue=${setTheme} /></div><//>
      </div>
      <div class="stack">
        ${actor?.startsWith("user:") ? html`<${Password} name=${actor.slice("user:".length)} />` : html`<${Card} title="Password"><p class="quiet note">${actor?.startsWith("oidc:") ? "Your identity provider keeps it, and changes it." : "The master key has none: it stands in a file beside the gateway. Make yourself an account under People, so that the audit log says who you are."}</p><//>`}
        <${Card} title="What you may do"><ul class="row tight wrap">${permissions?.map((one) => html`<li><${Badge} tone=${one.endsWith(":read") ? "" : "accent"}>${one}<//></li>`)}</ul><//>
      </div>
    </div>
    <${Own} />
  <//>`;
}

const way = (actor) => (actor?.startsWith("user:") ? "a password" : actor?.startsWith("oidc:") ? "single sign-on" : "the master key, which is no person");

/** Where one else is signed in. */
function Own() {
  const state = useLoad("own sessions", async () => (await get("/admin/session/own")).data);
  return html`<${Loaded} state=${state}>${(rows) => html`<${Sessions} rows=${rows} onEnd=${state.reload} own />`}<//>`;
}

function Password({ name }) {
  const [value, setValue] = useState({ current: "", password: "", again: "" });
  const [state, setState] = useState({ busy: false, error: null });
  const set = (field) => (one) => setValue({ ...value, [field]: one });
  const differs = value.again && value.again !== value.password ? "This is not the same." : undefined;
  const isShort = value.password && value.password.length < LEAST ? `${LEAST - value.password.length} more to go.` : undefined;
  const ready = value.current && value.password.length >= LEAST && value.again === value.password;
  const save = async (event) => {
    event.preventDefault();
    if (!ready) return;
    setState({ busy: true, error: null });
    try {
      await put("/admin/session/password", { current: value.current, password: value.password });
      setValue({ current: "", password: "", again: "" });
      setState({ busy: false, error: null });
      notify("Your password is changed, and your other sessions have ended");
    } catch (error) {
      setState({ busy: false, error: error.status === 403 ? { message: "this is not your current password; nothing was changed" } : error });
    }
  };
  return html`<${Card} title="Password"><form class="stack" onSubmit=${save}>
    <p class="quiet note">You stay signed in here; everywhere else you are signed out.</p>
    <input type="text" class="sr" tabindex="-1" aria-hidden="true" autocomplete="username" value=${name} readonly />
    <${Text} label="Current password" type="password" autocomplete="current-password" value=${value.current} onValue=${set("current")} required />
    <${Text} label="New password" type="password" autocomplete="new-password" hint=${`${LEAST} characters or more.`} wrong=${isShort} value=${value.password} onValue=${set("password")} required />
    <${Text} label="Once more" type="password" autocomplete="new-password" wrong=${differs} value=${value.again} onValue=${set("again")} required />
    <${Wrong} error=${state.error} />
    <div class="row"><${Button} tone="main" type="submit" busy=${state.busy} disabled=${!ready}>Change password<//></div>
    <${Cli} command="gatewayctl user change-password ADDRESS" /></form><//>`;
}
