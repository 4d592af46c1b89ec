// One person: made and invited in one go, looked after, locked out.
import { html, useState } from "../app/lib.js";
import { all, patch, post, put, useLoad } from "../app/api.js";
import { link } from "../app/router.js";
import { ago, exact, when } from "../app/format.js";
import { may, notify } from "../app/state.js";
import { Badge, Button, Card, Check, Choice, Cli, Confirm, CopyButton, Dialog, Drawer, Empty, Message, Text, Wrong } from "../app/ui.js";
import { Words, kinds } from "../app/form.js";
import { BudgetBar, useBudget } from "./budget.js";
import { Role, Sessions, Standing, roles } from "./people.js";
import { Editor } from "./resources.js";

const invite = (name) => post(`/admin/users/${encodeURIComponent(name)}/invitation`, {});

/** A link that is good once. It names no secret of the gateway, and still opens an account: it goes to that person only. */
function Link({ made, onClose }) {
  const url = new URL(made.path, location.origin).href;
  return html`<${Dialog} title=${`Invitation for ${made.user}`} onClose=${onClose} foot=${html`<${Button} tone="main" onClick=${onClose}>Done<//>`}>
    <${Message} tone="warn"><p>Send this link to ${made.user}, and to nobody else: whoever opens it first chooses the password. It is shown this once and is good until ${when(made.expires_at)}.</p><//>
    <div class="secret"><code data-secret>${url}</code><${CopyButton} text=${url} /></div><//>`;
}

export function NewPerson({ api, onClose }) {
  const [value, setValue] = useState({ name: "", email: "", role: "viewer", leads: undefined, organization: "", service_account: false });
  const [state, setState] = useState({ busy: false, error: null, made: null });
  const organizations = useLoad("all organizations", () => all("/admin/organizations"));
  const set = (name) => (one) => setValue({ ...value, [name]: one });
  const signsIn = !value.service_account && Boolean(value.role);
  const create = async () => {
    setState({ busy: true, error: null, made: null });
    const { name, email, role, leads, organization, service_account } = value;
    try {
      await post("/admin/users", { name, ...(service_account ? { service_account } : { ...(email && { email }), ...(role && { role }) }), ...(signsIn && role === "team-admin" && leads && { leads }), ...(organization && { organization }) });
      if (signsIn && may("people:write")) setState({ busy: false, error: null, made: await invite(name) });
      else onClose();
    } catch (error) {
      setState({ busy: false, error, made: null });
    }
  };
  if (state.made) return html`<${Link} made=${state.made} onClose=${onClose} />`;
  const wrong = (path) => state.error?.problems?.find((problem) => problem.path === path || problem.path?.endsWith(`.${path}`))?.message;
  const known = roles(api);
  const foot = html`<${Button} onClick=${onClose}>Cancel<//><${Button} needs="accounts:write" tone="main" busy=${state.busy} disabled=${!value.name.trim() || (signsIn && !value.email.trim())} onClick=${create}>${signsIn ? "Create and invite" : "Create"}<//>`;
  return html`<${Dialog} title="New person" onClose=${onClose} foot=${foot}>
    <${Text} label="Name" hint="Short, as it stands in logs." value=${value.name} onValue=${set("name")} wrong=${wrong("name")} placeholder="ada" autofocus />
    <${Check} checked=${value.service_account} onValue=${set("service_account")}>A program <span class="quiet small">It has keys and never signs in.</span><//>
    ${!value.service_account && html`<${Text} label="E-mail address" type="email" hint="What they sign in with." value=${value.email} onValue=${set("email")} wrong=${wrong("email")} placeholder="ada@example.com" />
      <${Choice} label="Role" value=${value.role} onValue=${set("role")} options=${[...known.map(([name]) => [name, name.replace("-", " ")]), ["", "none: keys only"]]} hint=${known.find(([name]) => name === value.role)?.[1] ?? "They do not sign in; keys can be on their account."} />
      ${value.role === "team-admin" && html`<${Words} label="Teams that they lead" value=${value.leads} onValue=${set("leads")} wrong=${wrong("leads")} />`}`}
    ${organizations.data?.length > 0 && html`<${Choice} label="Organization (optional)" value=${value.organization} onValue=${set("organization")} options=${[["", "none"], ...organizations.data.map((one) => [one.name, one.name])]} />`}
    <${Wrong} error=${state.error} />
    <${Cli} command=${`gatewayctl user invite ${value.name || "NAME"}`} />
  <//>`;
}

export function PersonDrawer({ item, name, sessions, api, onChange, onClose }) {
  const [open, setOpen] = useState(null);
  const [made, setMade] = useState(null);
  const [error, setError] = useState(null);
  const keys = useLoad("keys", () => (may("keys:read") ? all("/admin/keys") : []));
  const budget = useBudget("user", name);
  if (!item) return html`<${Drawer} title=${name} onClose=${onClose}><${Empty} title="There is nobody of this name">They may have been taken away; the <a href=${link("audit")}>audit log</a> says by whom.<//><//>`;
  const { spec } = item;
  const run = async (act) => {
    try {
      setError(null);
      await act();
    } catch (failure) {
      setError(failure);
    }
  };
  const disabled = spec.enabled === false;
  const toggle = () => patch(`/admin/users/${encodeURIComponent(name)}?wait=applied&timeout=10s`, { enabled: disabled });
  const own = keys.data?.filter((key) => key.user === name) ?? [];
  const kind = api && kinds(api).find((one) => one.plural === "users");
  return html`<${Drawer} title=${name} onClose=${onClose}>
    <div class="row wrap"><${Standing} item=${item} n=${sessions.length} /><${Role} name=${spec.role} /><span class="grow"></span>
      <${Button} needs="accounts:write" onClick=${() => setOpen("edit")}>Edit<//>
      ${spec.role && html`<${Button} needs="people:write" onClick=${() => run(async () => setMade(await invite(name)))}>Invite<//><${Button} needs="people:write" onClick=${() => setOpen("password")}>Set password<//>`}
      <${Button} needs="accounts:write" tone=${disabled ? "" : "danger"} onClick=${() => (disabled ? run(async () => (await toggle(), onChange())) : setOpen("disable"))}>${disabled ? "Enable" : "Disable"}<//></div>
    <${Wrong} error=${error} />
    <${Card} title="Account"><dl class="facts">
      <dt>E-mail</dt><dd>${spec.email ?? "–"}</dd>
      <dt>Role</dt><dd>${roles(api).find(([role]) => role === spec.role)?.[1] ?? "Does not sign in."}</dd>
      ${spec.leads?.length > 0 && html`<dt>Leads</dt><dd>${spec.leads.map((team, at) => html`${at > 0 && ", "}<a href=${link("teams", team)}>${team}</a>`)}</dd>`}
      <dt>Organization</dt><dd>${spec.organization ?? "–"}</dd>
      <dt>Made</dt><dd>${exact(item.created_at)}</dd><dt>Changed</dt><dd>${ago(item.updated_at)}</dd></dl><//>
    ${budget && html`<${Card} title="Budget"><${BudgetBar} row=${budget} plain /><//>`}
    ${sessions.length > 0 && html`<${Sessions} rows=${sessions} onEnd=${onChange} short />`}
    ${may("keys:read") && html`<${Card} title="Keys">${own.length === 0 ? html`<p class="quiet note">None is on this account. Its owner is chosen when <a href=${link("keys")}>a key is made</a>.</p>` : html`<ul class="stack tight">${own.map((key) => html`<li class="row"><a class="grow" href=${link("keys", key.name)}>${key.name}</a>${!key.enabled && html`<${Badge} tone="warn">disabled<//>`}<span class="quiet note">${key.last_used_at ? `used ${ago(key.last_used_at)}` : "never used"}</span></li>`)}</ul>`}<//>`}
    <${Cli} command=${`gatewayctl describe user ${name}`} />
    ${made && html`<${Link} made=${made} onClose=${() => setMade(null)} />`}
    ${open === "edit" && kind && html`<${Editor} api=${api} kind=${kind} item=${item} onClose=${() => (setOpen(null), onChange())} />`}
    ${open === "password" && html`<${SetPassword} name=${name} onClose=${() => (setOpen(null), onChange())} />`}
    ${open === "disable" && html`<${Confirm} title=${`Disable ${name}?`} verb="Disable" onClose=${() => setOpen(null)} act=${async () => (await toggle(), onChange())}><p>They are signed out everywhere, and keys on their account are refused, until they are enabled again.</p><//>`}
  <//>`;
}

function SetPassword({ name, onClose }) {
  const [password, setPassword] = useState("");
  const [state, setState] = useState({ busy: false, error: null });
  const save = async () => {
    setState({ busy: true, error: null });
    try {
      await put(`/admin/users/${encodeURIComponent(name)}/password`, { password });
      notify(`${name} has a new password, and is signed out everywhere`);
      onClose();
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  const foot = html`<${Button} onClick=${onClose}>Cancel<//><${Button} needs="people:write" tone="main" busy=${state.busy} disabled=${password.length < 10} onClick=${save}>Set password<//>`;
  return html`<${Dialog} title=${`Password of ${name}`} onClose=${onClose} foot=${foot}>
    <p class="quiet">An invitation is better: then nobody but they know it. Their sessions end.</p>
    <${Text} label="New password" type="password" autocomplete="new-password" hint="10 characters or more." value=${password} onValue=${setPassword} autofocus />
    <${Wrong} error=${state.error} /><//>`;
}
