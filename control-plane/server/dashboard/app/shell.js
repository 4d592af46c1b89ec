// What stands around every page: navigation, the state of the control plane, theme, help with keys.
import { html, signal, useEffect, useState } from "./lib.js";
import { get, signOut, useLoad } from "./api.js";
import { JUMPS, listen } from "./shortcuts.js";
import { go, link, place } from "./router.js";
import { dismiss, may, notices, notify, outage, session, setTheme, theme, writes } from "./state.js";
import { ago } from "./format.js";
import { Button, Card, Dialog, Empty, Icon, Page } from "./ui.js";

/** A page whose file comes when it is first looked at. */
function coming(load, name) {
  const come = signal(undefined);
  const Coming = (props) => {
    useEffect(() => void Coming.load().catch(() => (come.value = Lost)), []);
    return html`<${come.value ?? Waiting} ...${props} />`;
  };
  Coming.load = async () => {
    come.value = (await load())[name];
  };
  return Coming;
}

const Waiting = () => html`<div class="page" aria-busy="true"></div>`;
const Lost = () => html`<${Page} title="Not here"><${Empty} title="This page did not come" action=${html`<${Button} onClick=${() => location.reload()}>Load it anew<//>`}>The control plane did not answer, or it is of another version now.<//><//>`;

const Overview = coming(() => import("../pages/overview.js"), "Overview");
const Requests = coming(() => import("../pages/requests.js"), "Requests");
const Sessions = coming(() => import("../pages/sessions.js"), "Sessions");
const Keys = coming(() => import("../pages/keys.js"), "Keys");
const Budgets = coming(() => import("../pages/budgets.js"), "Budgets");
const Alerts = coming(() => import("../pages/alerts.js"), "Alerts");
const People = coming(() => import("../pages/people.js"), "People");
const Teams = coming(() => import("../pages/teams.js"), "Teams");
const Account = coming(() => import("../pages/account.js"), "Account");
const Providers = coming(() => import("../pages/providers.js"), "Providers");
const Models = coming(() => import("../pages/models.js"), "Models");
const Routes = coming(() => import("../pages/routes.js"), "Routes");
const Fleet = coming(() => import("../pages/fleet.js"), "Fleet");
const Exporters = coming(() => import("../pages/exporters.js"), "Exporters");
const Config = coming(() => import("../pages/config.js"), "Config");
const Cost = coming(() => import("../pages/cost.js"), "Cost");
const Playground = coming(() => import("../pages/playground.js"), "Playground");
const Setup = coming(() => import("../pages/setup.js"), "Setup");
const Audit = coming(() => import("../pages/audit.js"), "Audit");
const Settings = coming(() => import("../pages/settings.js"), "Settings");
const Start = coming(() => import("../pages/start.js"), "Start");
const Resources = coming(() => import("../pages/resources.js"), "Resources");

const NAVIGATION = [
  ["Observe", [["overview", "Overview", "overview", Overview, "status:read"], ["requests", "Requests", "requests", Requests, "requests:read"], ["sessions", "Sessions", "session", Sessions, "requests:read"]]],
  ["Money", [["cost", "Usage & cost", "cost", Cost, "spend:read"], ["budgets", "Budgets", "budget", Budgets, "money:read"], ["alerts", "Alerts", "bell", Alerts, "money:read"]]],
  ["Route", [["providers", "Providers", "provider", Providers, "config:read"], ["models", "Models", "model", Models, "config:read"], ["routes", "Routes", "route", Routes, "config:read"]]],
  ["Access", [["keys", "Keys", "key", Keys, "keys:read"], ["people", "People", "people", People, "accounts:read"], ["teams", "Teams", "team", Teams, "accounts:read"]]],
  ["Build", [["start", "Get started", "start", Start, "config:write"], ["playground", "Playground", "play", Playground, "config:read"], ["setup", "Client setup", "setup", Setup]]],
  ["Operate", [["fleet", "Fleet", "fleet", Fleet, "fleet:read"], ["exporters", "Exporters", "export", Exporters, "config:read"], ["config", "Configuration", "config", Config, "config:read"], ["resources", "All resources", "resources", Resources, "config:read"], ["audit", "Audit log", "audit", Audit, "audit:read"], ["settings", "Settings", "settings", Settings, "config:read"]]],
];
/** What this person has a use for. */
const offered = () => NAVIGATION.map(([title, entries]) => [title, entries.filter(([, , , , needs]) => may(needs))]).filter(([, entries]) => entries.length > 0);
const PAGES = { account: Account, ...Object.fromEntries(NAVIGATION.flatMap(([, entries]) => entries.map(([name, , , page]) => [name, page]))) };
const NEEDS = Object.fromEntries(NAVIGATION.flatMap(([, entries]) => entries.map(([name, , , , needs]) => [name, needs])));
const STATUS_MS = 10_000;
/** What one looks at comes first; the rest is there soon after, also when nobody answers any more. */
const QUIET_MS = 1_000;

async function loadRest() {
  await new Promise((done) => setTimeout(done, QUIET_MS));
  for (const page of Object.values(PAGES)) await page.load().catch(() => {});
}

export function Shell() {
  const [menu, setMenu] = useState(false);
  const [help, setHelp] = useState(false);
  const status = useLoad("status", () => (may("status:read") ? get("/admin/status") : null), STATUS_MS);
  useEffect(() => void (writes.value && status.reload()), [writes.value]);
  useEffect(() => listen(() => setHelp(true)), []);
  useEffect(() => void loadRest(), []);
  const { page, parts } = place.value;
  useEffect(() => {
    setMenu(false);
    scrollTo(0, 0);
  }, [page]);
  const who = (session.value?.actor ?? "").replace(/^(user|oidc):/, "");
  const Current = may(NEEDS[page]) ? (PAGES[page] ?? Missing) : page === "overview" ? Nothing : Hidden;
  const first = offered()[0][1][0][0];
  useEffect(() => {
    if (page === "overview" && first !== page) go(first);
  }, [page, first]);
  return html`<div class="shell">
    <a class="button skip" href="#main" onClick=${(event) => (event.preventDefault(), document.getElementById("main").focus())}>Skip to the page</a>
    ${menu && html`<div class="menu-veil" onClick=${() => setMenu(false)}></div>`}
    <aside class="side ${menu ? "shown" : ""}">
      <a class="brand" href=${link("overview")}><img src=${import.meta.resolve("../style/icon.svg")} alt="" />Gateway</a>
      ${offered().map(([title, entries]) => html`<nav class="nav" aria-label=${title}><h3>${title}</h3>
        ${entries.map(([name, text, icon]) => html`<a href=${link(name)} aria-current=${name === page ? "page" : undefined}><${Icon} name=${icon} />${text}</a>`)}
      </nav>`)}
      <div class="foot">${status.data ? `Version ${status.data.version}` : ""}<br /><a href="/docs">API reference</a> · <a href="#" onClick=${(event) => (event.preventDefault(), setHelp(true))}>Keyboard</a></div>
    </aside>
    <div>
      <header class="top">
        <${Button} tone="plain menu" icon="menu" label="Menu" aria-expanded=${menu ? "true" : "false"} onClick=${() => setMenu(!menu)} />
        <span class="grow"></span>
        ${status.data && html`<a class="note quiet nowrap fact" href=${link("fleet")}>${status.data.nodes.connected}/${status.data.nodes.known} nodes</a>
          <a class="note quiet nowrap fact" href=${link("config")} title="The revision of the configuration">rev ${status.data.revision.topology}.${status.data.revision.identity}</a>`}
        <${ThemeButton} />
        <a class="who" href=${link("account")} aria-current=${page === "account" ? "page" : undefined} aria-label=${`Your account: ${who}, ${session.value?.role}`}><span class="face" aria-hidden="true">${who.slice(0, 1)}</span><span class="note cut">${who} · ${session.value?.role}</span></a>
        <${Button} tone="plain" icon="out" label="Sign out" onClick=${() => signOut().catch((error) => notify(error.message, "bad"))} />
      </header>
      ${outage.value && html`<div class="banner" role="status"><${Icon} name="warn" /><span>${outage.value.what} Requests are served on; this dashboard is read-only and shows what it had ${ago(outage.value.since)}.</span></div>`}
      <main id="main" tabindex="-1"><${Current} key=${page} parts=${parts} /></main>
    </div>
    ${help && html`<${Help} onClose=${() => setHelp(false)} />`}
  </div>`;
}

function ThemeButton() {
  const next = { system: "dark", dark: "light", light: "system" }[theme.value] ?? "system";
  return html`<${Button} tone="plain" icon="sun" label=${`Theme: ${theme.value}. Change to ${next}`} onClick=${() => setTheme(next)} />`;
}

const Nothing = () => null;

const Hidden = () => html`<${Page} title="Not for your role"><${Card}><${Empty} title="Your role does not see this page" action=${html`<a class="button" href=${link("account")}>What you may do</a>`}>It takes <code>${NEEDS[place.value.page]}</code>. Who looks after people here can give you a role that has it.<//><//><//>`;

const Missing = () => html`<${Page} title="Nothing here"><${Empty} title="There is no such page" action=${html`<a class="button" href=${link("overview")}>To the overview</a>`}>The address may be of another version of the dashboard.<//><//>`;

export const Notices = () => html`<div class="notices" aria-live="polite">${notices.value.map((notice) => html`<div key=${notice.id} class="message ${notice.tone}">
  <${Icon} name=${notice.tone === "good" ? "check" : "warn"} /><span class="grow">${notice.text}</span>
  <button type="button" class="button plain small icon" aria-label="Dismiss" onClick=${() => dismiss(notice.id)}><${Icon} name="close" /></button>
</div>`)}</div>`;

function Help({ onClose }) {
  const keys = [["/", "Search on this page"], ["j k", "Down and up in a table"], ["Enter", "Open the row"], ["Esc", "Close, or leave a field"], ...Object.entries(JUMPS).map(([key, page]) => [`g ${key}`, NAVIGATION.flatMap(([, entries]) => entries).find(([name]) => name === page)[1]])];
  return html`<${Dialog} title="Keyboard" onClose=${onClose}><dl class="facts">${keys.map(([key, text]) => html`<dt>${key.split(" ").map((part) => html`<kbd>${part}</kbd> `)}</dt><dd>${text}</dd>`)}</dl><//>`;
}
