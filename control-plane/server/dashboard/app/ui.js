// The parts that all pages are made of.
import { html, useEffect, useRef, useState } from "./lib.js";
import { may, notify } from "./state.js";

const PATHS = {
  overview: "M4 19V9m5 10V5m5 14v-7m5 7V8",
  requests: "M4 6h16M4 12h16M4 18h10",
  session: "M4 5h12v8H9l-4 3v-3H4zM19 9h1v8h-1v3l-4-3h-5",
  key: "M14 10a4 4 0 1 0-3.5 4L12 15.5h2v2h2v2h3v-3.5L13.9 11",
  provider: "M5 17a4 4 0 0 1 .6-7.9A6 6 0 0 1 17 8.6 4.3 4.3 0 0 1 18 17z",
  model: "M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12L4 7.5",
  route: "M6 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM18 9a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM8 17h6a4 4 0 0 0 0-8h-3a3 3 0 0 1 0-4h5",
  fleet: "M4 5h16v6H4zM4 13h16v6H4zM8 8h.01M8 16h.01",
  config: "M14 4h5v5M5 20h5M19 4l-8 8M5 12v8M9 4H5v4",
  cost: "M12 4v16M16 7.5C15.4 6.6 14 6 12 6c-2.5 0-4 1.1-4 2.9 0 4.2 8.2 2 8.2 6.2 0 1.8-1.7 2.9-4.2 2.9-2.2 0-3.7-.7-4.3-1.8",
  budget: "M4 7h14v12H4zM4 7l11-3v3M14 12h6v3h-6z",
  play: "M7 5l12 7-12 7z",
  setup: "M8 8l-4 4 4 4M16 8l4 4-4 4M13.5 5l-3 14",
  audit: "M7 4h10v16H7zM10 9h4M10 13h4",
  settings: "M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM19 12h2M3 12h2M12 3v2M12 19v2M17 7l1.4-1.4M5.6 18.4L7 17M17 17l1.4 1.4M5.6 5.6L7 7",
  start: "M5 19l3-8 5 5zM13 11l6-6M14 5h5v5",
  resources: "M5 5h6v6H5zM13 5h6v6h-6zM5 13h6v6H5zM13 13h6v6h-6z",
  people: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM3 20c0-3.3 2.7-6 6-6s6 2.7 6 6M16 4.5a3.5 3.5 0 0 1 0 6M18 14.5c1.9 1 3 3 3 5.5",
  team: "M12 8a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM5.5 20a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM18.5 20a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM12 8v4M12 12H5.5v3M12 12h6.5v3",
  bell: "M6 16v-5a6 6 0 0 1 12 0v5l1.5 2h-15zM10 21h4",
  export: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  menu: "M4 7h16M4 12h16M4 17h16",
  copy: "M9 9h10v10H9zM5 15V5h10",
  check: "M5 12.5l4.5 4.5L19 7.5",
  warn: "M12 4l9 16H3zM12 10v4M12 17h.01",
  info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5M12 8h.01",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6L7 7M17 17l1.4 1.4M5.6 18.4L7 17M17 7l1.4-1.4",
  out: "M14 5h5v14h-5M4 12h10M10 8l4 4-4 4",
  up: "M12 19V5M6 11l6-6 6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  live: "M12 13a1 1 0 1 0 0-2 1 1 0 0 0 0 2zM8 8a6 6 0 0 0 0 8M16 8a6 6 0 0 1 0 8",
};

export const Icon = ({ name }) => html`<svg class="icon-svg" viewBox="0 0 24 24" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;

export const Badge = ({ tone = "", dot, children }) => html`<span class="badge ${tone}">${dot && html`<i class="dot ${dot === "live" ? "live" : ""}"></i>`}${children}</span>`;

/** `needs` is the permission without which it cannot be pressed. */
export function Button({ tone = "", icon, busy, children, label, needs, disabled, ...rest }) {
  const allowed = may(needs);
  const title = allowed ? label : `Takes the permission ${needs}, which your role has not`;
  return html`<button type="button" class="button ${tone} ${icon && !children ? "icon" : ""}" aria-label=${label} title=${title} aria-busy=${busy ? "true" : undefined} ...${rest} disabled=${busy || disabled || !allowed}>
    ${icon && html`<${Icon} name=${icon} />`}${children}
  </button>`;
}

/** Head, body and foot of a page. `cli` is the same thing on the command line. */
export function Page({ title, about, actions, cli, children }) {
  useEffect(() => {
    document.title = `${title} · Gateway`;
  }, [title]);
  return html`<div class="page">
    <div class="page-head">
      <div class="grow"><h1>${title}</h1>${about && html`<p class="about">${about}</p>`}</div>
      ${actions && html`<div class="actions">${actions}</div>`}
    </div>
    ${children}
    ${cli && html`<div class="page-foot"><${Cli} command=${cli} /></div>`}
  </div>`;
}

export const Card = ({ title, aside, foot, flush, children, id }) => html`<section class="card" id=${id}>
  ${title && html`<header><h2 class="grow">${title}</h2>${aside}</header>`}
  ${flush ? children : html`<div class="body">${children}</div>`}
  ${foot && html`<footer>${foot}</footer>`}
</section>`;

export const Stat = ({ name, figure, unit, under, tone = "" }) => html`<div class="stat">
  <div class="name">${name}</div>
  <div class="figure ${tone}">${figure}${unit && html`<small>${unit}</small>`}</div>
  <div class="under">${under ?? "\u00a0"}</div>
</div>`;

export const Bar = ({ share, tone = "", label }) => html`<div class="bar ${tone}" ...${label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" }}><i style=${{ width: `${Math.max(0, Math.min(1, share)) * 100}%` }}></i></div>`;

export const Empty = ({ title, children, action }) => html`<div class="empty"><h3>${title}</h3>${children && html`<p>${children}</p>`}${action}</div>`;

export const Message = ({ tone = "info", children }) => html`<div class="message ${tone}" role=${tone === "bad" ? "alert" : "status"}>
  <${Icon} name=${tone === "good" ? "check" : tone === "info" ? "info" : "warn"} /><div class="grow">${children}</div>
</div>`;

/** What a refusal said: what happened, where, and what to do. */
export function Wrong({ error, retry }) {
  if (!error) return null;
  return html`<${Message} tone="bad">
    <p>${sentence(error.message)}</p>
    ${error.problems?.length > 0 && html`<ul>${error.problems.map((problem) => html`<li><code>${[problem.kind, problem.name, problem.path].filter(Boolean).join(" ")}</code> ${problem.message}</li>`)}</ul>`}
    ${retry && html`<p><a href="#" onClick=${(event) => (event.preventDefault(), retry())}>Try again</a></p>`}
  <//>`;
}

export const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") : "");

/** What the shell says of the whole: signed out, not to be reached, without its database. */
const TOLD_ABOVE = new Set([0, 401, 503]);

/** Data, or what stands in its place: a shimmer, or the error where there is nothing to show. */
export function Loaded({ state, children, lines = 3 }) {
  if (state.data !== undefined) return html`${state.error && !TOLD_ABOVE.has(state.error.status) && html`<${Wrong} error=${state.error} retry=${state.reload} />`}${children(state.data)}`;
  if (state.error) return html`<${Wrong} error=${state.error} retry=${state.reload} />`;
  return html`<div class="stack" aria-busy="true" aria-label="loading">${Array.from({ length: lines }, () => html`<div class="skeleton"></div>`)}</div>`;
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    notify("Copied");
  } catch {
    notify("The browser does not let this page copy; select the text and copy it yourself", "bad");
  }
}

export const CopyButton = ({ text, label = "Copy" }) => html`<${Button} tone="small" icon="copy" onClick=${() => copy(text)}>${label}<//>`;

export const Code = ({ text, wrapped, shown }) => html`<div class="code ${wrapped ? "wrapped" : ""}"><pre tabindex="0">${shown ?? text}</pre><${CopyButton} text=${text} /></div>`;

export const Cli = ({ command }) => html`<div class="cli"><span class="nowrap">On the command line</span><span class="prompt">$</span><code>${command}</code>
  <button type="button" class="button plain small icon" aria-label="Copy the command" onClick=${() => copy(command)}><${Icon} name="copy" /></button></div>`;

let nextField = 0;
/** A labelled control. `children` is the control as a function of the attributes that tie it to its label. */
export function Field({ label, hint, wrong, children }) {
  const id = useRef(null);
  id.current ??= `field-${nextField++}`;
  const about = hint || wrong ? `${id.current}-about` : undefined;
  return html`<div class="field">
    <label class="label" for=${id.current}>${label}</label>
    ${children({ id: id.current, "aria-describedby": about, "aria-invalid": wrong ? "true" : undefined })}
    ${(wrong || hint) && html`<span id=${about} class=${wrong ? "wrong" : "hint"}>${wrong || hint}</span>`}
  </div>`;
}

export const Text = ({ label, hint, wrong, value, onValue, mono, ...rest }) => html`<${Field} label=${label} hint=${hint} wrong=${wrong}>
  ${(tie) => html`<input class="input ${mono ? "mono" : ""}" autocomplete="off" spellcheck=${false} value=${value} onInput=${(event) => onValue(event.target.value)} ...${tie} ...${rest} />`}
<//>`;

export const Choice = ({ label, hint, value, onValue, options, ...rest }) => html`<${Field} label=${label} hint=${hint}>
  ${(tie) => html`<${Select} value=${value} onValue=${onValue} options=${options} ...${tie} ...${rest} />`}
<//>`;

/** `options` are texts, or pairs of value and text. */
export const Select = ({ value, onValue, options, className = "", ...rest }) => html`<select class="input ${className}" value=${value} onChange=${(event) => onValue(event.target.value)} ...${rest}>
  ${options.map((option) => {
    const [at, text] = Array.isArray(option) ? option : [option, option];
    return html`<option value=${at} selected=${at === value}>${text}</option>`;
  })}
</select>`;

export const Check = ({ checked, onValue, children }) => html`<label class="check"><input type="checkbox" checked=${checked} onChange=${(event) => onValue(event.target.checked)} /><span>${children}</span></label>`;

export const Segments = ({ value, options, onValue, label, whole }) => html`<div class="segments ${whole ? "whole" : ""}" role="group" aria-label=${label}>
  ${options.map(([at, text]) => html`<button type="button" aria-pressed=${at === value} onClick=${() => onValue(at)}>${text}</button>`)}
</div>`;

/** Keeps the focus inside while it is open, gives it back after, closes with Esc or a click beside it. */
function Overlay({ onClose, className, label, children }) {
  const box = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    (box.current.querySelector("[autofocus], .body input, .body select, .body textarea") ?? box.current).focus();
    return () => before?.focus?.();
  }, []);
  const onKey = (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      onClose();
    }
    if (event.key !== "Tab") return;
    const stops = [...box.current.querySelectorAll("a[href], button:not(:disabled), input, select, textarea, [tabindex='0']")];
    const [first, last] = [stops[0], stops.at(-1)];
    if (event.shiftKey && document.activeElement === first) (event.preventDefault(), last?.focus());
    else if (!event.shiftKey && document.activeElement === last) (event.preventDefault(), first?.focus());
  };
  return html`<div class="veil ${className === "drawer" ? "drawer-veil" : ""}" onMouseDown=${(event) => event.target === event.currentTarget && onClose()} onKeyDown=${onKey}>
    <div class=${className} role="dialog" aria-modal="true" aria-label=${label} tabindex="-1" ref=${box}>${children}</div>
  </div>`;
}

const Head = ({ title, onClose, aside }) => html`<header><h2 class="grow cut">${title}</h2>${aside}<${Button} tone="plain" icon="close" label="Close" onClick=${onClose} /></header>`;

export const Dialog = ({ title, onClose, wide, foot, children }) => html`<${Overlay} className=${wide ? "dialog wide" : "dialog"} label=${title} onClose=${onClose}>
  <${Head} title=${title} onClose=${onClose} /><div class="body stack">${children}</div>${foot && html`<footer>${foot}</footer>`}
<//>`;

export const Drawer = ({ title, onClose, aside, children }) => html`<${Overlay} className="drawer" label=${title} onClose=${onClose}>
  <${Head} title=${title} onClose=${onClose} aside=${aside} /><div class="body stack">${children}</div>
<//>`;

/** Asks before what cannot be taken back. */
export function Confirm({ title, children, verb, onClose, act }) {
  const [state, setState] = useState({ busy: false, error: null });
  const run = async () => {
    setState({ busy: true, error: null });
    try {
      await act();
      onClose();
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  const foot = html`<${Button} onClick=${onClose}>Cancel<//><${Button} tone="main danger" busy=${state.busy} onClick=${run}>${verb}<//>`;
  return html`<${Dialog} title=${title} onClose=${onClose} foot=${foot}><div>${children}</div><${Wrong} error=${state.error} /><//>`;
}

/** A line without axes: where it goes, not how much. */
export function Spark({ values, tone = "var(--c1)", label }) {
  const top = Math.max(...values, 0) || 1;
  const points = values.map((value, at) => `${(at / Math.max(1, values.length - 1)) * 100},${27 - (value / top) * 25}`);
  return html`<svg class="spark" viewBox="0 0 100 28" preserveAspectRatio="none" role="img" aria-label=${label}>
    <polyline points=${points.join(" ")} fill="none" stroke=${tone} stroke-width="1.5" vector-effect="non-scaling-stroke" />
  </svg>`;
}

/** How the nodes took a change: `rollout` is what the API said. */
export function Meter({ rollout, took }) {
  if (!rollout) return null;
  const [applied, rejected, pending] = [rollout.applied ?? [], rollout.rejected ?? [], rollout.pending ?? []];
  const all = applied.length + rejected.length + pending.length;
  const tone = rejected.length ? "bad" : pending.length ? "warn" : "good";
  const text = all === 0 ? "No node is connected; each one takes it when it comes back" : `Applied on ${applied.length}/${all} nodes${took ? ` in ${(took / 1000).toFixed(2)} s` : ""}`;
  return html`<div class="meter" data-meter>
    <div class="row between note"><span class="strong ${tone}">${text}</span>${rollout.offline?.length > 0 && html`<span class="quiet">${rollout.offline.length} offline</span>`}</div>
    <${Bar} share=${all ? applied.length / all : 0} tone=${tone} label=${text} />
    ${rejected.map((one) => html`<p class="small bad">${one.node_id ?? one.node ?? one.id}: ${one.errors?.map((error) => error.message).join("; ") ?? "refused it"}</p>`)}
  </div>`;
}
