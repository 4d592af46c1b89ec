// One request: its time as a waterfall, its attempts, what was used, and what was decided.
import { html, useState } from "../app/lib.js";
import { get, useLoad } from "../app/api.js";
import { link } from "../app/router.js";
import { bytes, count, exact, money, span } from "../app/format.js";
import { may } from "../app/state.js";
import { Badge, Button, Card, Cli, Code, CopyButton, Drawer, Empty, Loaded, Message, sentence } from "../app/ui.js";
import { ENDINGS, tone } from "./requests.js";

export function RequestDrawer({ id, known, onClose }) {
  const state = useLoad(`request ${id}`, () => (known ? Promise.resolve(known) : get(`/admin/logs/${encodeURIComponent(id)}`)));
  return html`<${Drawer} title=${`Request ${id}`} onClose=${onClose} aside=${html`<${CopyButton} text=${id} label="Id" />`}>
    <${Loaded} state=${state}>${(record) => html`<${Detail} record=${record} />`}<//>
  <//>`;
}

function Detail({ record }) {
  return html`<div class="stack">
    <div class="row wrap">
      <${Badge} tone=${tone(record)} dot>${record.status} ${ENDINGS[record.ending] ?? record.ending}<//>
      ${record.stream && html`<${Badge}>stream<//>`}
      ${record.lane && html`<${Badge} tone="info">${record.lane === "pass" ? "bytes passed" : record.lane}<//>`}
      ${record.cache && html`<${Badge} tone="accent">cache: ${record.cache.outcome ?? record.cache.status ?? "used"}<//>`}
      <span class="quiet note">${exact(record.started_unix_ms)}</span>
    </div>
    ${record.error_message && html`<${Message} tone=${tone(record) === "bad" ? "bad" : "warn"}><p><b>${record.error_code}</b> ${sentence(record.error_message)}</p><//>`}
    <${Card} title="Where the time went" aside=${html`<span class="note quiet">${span(record.total_us)} in all, ${span(record.overhead_us)} of it the gateway's own</span>`}><${Waterfall} record=${record} /><//>
    <${Card} title="Decisions"><${Decisions} record=${record} /><//>
    <div class="grid two">
      <${Card} title="Usage"><${Usage} record=${record} /><//>
      <${Card} title="Request"><dl class="facts">
        <${Fact} name="Call" value=${html`<code>${record.method} ${record.path}</code>`} />
        <${Fact} name="Dialect" value=${record.dialect} />
        <${Fact} name="Key" value=${record.key_name && html`<a href=${link("keys", record.key_name)}>${record.key_name}</a>`} />
        <${Fact} name="Node" value=${html`<a class="mono small" href=${link("fleet", record.node_id)}>${record.node_id}</a>`} />
        <${Fact} name="Revision" value=${record.topology_revision} />
        <${Fact} name="Session" value=${record.session_id && html`<a class="mono small" href=${link("sessions", [...record.session_id].slice(0, 200).join(""))}>${record.session_id}</a>`} />
        <${Fact} name="Tags" value=${record.tags.join(", ")} />
        <${Fact} name="Body" value=${`${bytes(record.request_bytes)} in, ${bytes(record.response_bytes)} out`} />
      </dl><//>
    </div>
    ${may("bodies:read") && html`<${Bodies} key=${record.id} id=${record.id} />`}
    <${Cli} command=${`gatewayctl explain ${record.id}`} />
  </div>`;
}

/** Asked for only when somebody wants it: each reading stands in the audit log. */
function Bodies({ id }) {
  const [wanted, setWanted] = useState(false);
  return html`<${Card} title="What was asked and answered">
    ${wanted
      ? html`<${Kept} id=${id} />`
      : html`<${Empty} title="Not shown yet" action=${html`<${Button} onClick=${() => setWanted(true)}>Show it<//>`}>Reading it is written into the audit log under your name.<//>`}
  <//>`;
}

function Kept({ id }) {
  const state = useLoad(`body ${id}`, () => get(`/admin/logs/${encodeURIComponent(id)}/body`).catch((error) => (error.status === 404 ? null : Promise.reject(error))));
  return html`<${Loaded} state=${state}>${(kept) =>
    kept
      ? html`<div class="stack"><${Part} name="Asked" part=${kept.request} /><${Part} name="Answered" part=${kept.response} /></div>`
      : html`<${Empty} title="Nothing is kept of this request">Bodies are off unless asked for: <code>log_bodies: {request: true, response: true}</code> on a key, a route or in the settings keeps them from then on, cut and redacted on the node, for a few days.<//>`}<//>`;
}

/** Strangers wrote it: text, never markup. */
function Part({ name, part }) {
  if (!part) return html`<p class="quiet note">${name}: not kept; <code>log_bodies</code> says of which side it is.</p>`;
  return html`<div class="stack">
    <div class="row wrap"><b>${name}</b><span class="note quiet">${part.content_type || "no content type"}, ${bytes(part.bytes)}</span>
      ${part.truncated && html`<${Badge} tone="warn">cut<//>`}
      ${part.redacted > 0 && html`<${Badge} tone="info">${count(part.redacted)} redacted<//>`}</div>
    ${part.withheld
      ? html`<${Message} tone="warn"><p>It could not be read well enough to hide what <code>redact</code> names, so that nothing of it was kept.</p><//>`
      : html`<${Code} text=${part.text ?? part.base64 ?? ""} wrapped />${part.base64 && html`<p class="quiet note">It is no text: base64.</p>`}`}
  </div>`;
}

const Fact = ({ name, value }) => (value ? html`<dt>${name}</dt><dd>${value}</dd>` : null);

/** Segments of `{ from, to, colour }` in microseconds, one row each. */
function Waterfall({ record }) {
  const rows = [];
  const add = (name, from, to, colour, figure) => rows.push({ name, parts: [{ from, to, colour }], figure: figure ?? span(to - from) });
  if (record.admitted_us) add("Read and admitted", 0, record.admitted_us, "--c6");
  record.attempts.forEach((attempt, at) => {
    const failed = attempt.error_code || attempt.status >= 400;
    const parts = [{ from: attempt.started_us, to: Math.max(attempt.ended_us, attempt.started_us), colour: failed ? "--bad" : "--c1" }];
    if (attempt.queued_us) parts.unshift({ from: attempt.started_us - attempt.queued_us, to: attempt.started_us, colour: "--c3" });
    rows.push({ name: `${record.attempts.length > 1 ? `${at + 1}. ` : ""}${attempt.provider}`, parts, figure: span(attempt.ended_us - attempt.started_us) });
  });
  const last = record.attempts.at(-1);
  if (last && record.first_byte_us) {
    add("Until the first byte", last.started_us, record.first_byte_us, "--c4");
    add(record.stream ? "Stream to the client" : "Answer to the client", record.first_byte_us, record.total_us, "--c2");
  }
  if (!rows.length) add("Answered by the gateway", 0, record.total_us, "--c6");
  const all = Math.max(record.total_us, 1);
  return html`<div class="waterfall">${rows.map((row) => html`
    <span class="name cut" title=${row.name}>${row.name}</span>
    <span class="track">${row.parts.map((part) => html`<i style=${{ left: `${(part.from / all) * 100}%`, width: `${Math.max(0, (part.to - part.from) / all) * 100}%`, background: `var(${part.colour})` }}></i>`)}</span>
    <span class="num nowrap">${row.figure}</span>`)}</div>`;
}

function Decisions({ record }) {
  const steps = [];
  const add = (text, tone = "") => steps.push({ text, tone });
  add(record.key_name ? html`Identified as <b>${record.key_name}</b>` : "No key was shown", record.status === 401 ? "bad" : "");
  if (record.auto_choice) add(html`The gateway chose the model: <code>${short(record.auto_choice)}</code>`, "accent");
  if (record.experiment) add(html`Experiment: <code>${short(record.experiment)}</code>`, "accent");
  if (record.route) add(html`Route <a href=${link("routes")}><b>${record.route}</b></a> matched`);
  if (record.model) add(html`Model <b>${record.model}</b>`);
  if (record.pin) add(html`Kept to one target: ${record.pin}`);
  if (record.cache) add(html`Cache: <code>${short(record.cache)}</code>`);
  record.passed_over.forEach((target) => add(html`Passed over <b>${target.provider}/${target.model}</b>: ${target.reason.replaceAll("_", " ")}${target.left_ms ? `, ${span(target.left_ms * 1000)} left` : ""}`, "warn"));
  record.attempts.forEach((attempt) => {
    const failed = attempt.error_code || attempt.status >= 400;
    const how = attempt.status ? `answered ${attempt.status}` : "did not answer";
    add(html`Asked <b>${attempt.provider}/${attempt.model}</b>${attempt.provider_key && ` with key ${attempt.provider_key}`}${attempt.hedge && " as a hedge"}: ${how}${attempt.error_code && html` (<code>${attempt.error_code}</code>)`}${attempt.cost_nano_usd ? `, charged ${money(attempt.cost_nano_usd)}` : ""}`, failed ? "bad" : "good");
  });
  if (record.shadow_of) add(html`A shadow of <a href=${link("requests", record.shadow_of)}>${record.shadow_of}</a>`);
  add(html`Ended: ${ENDINGS[record.ending] ?? record.ending}`, tone(record));
  return html`<ul class="steps">${steps.map((step) => html`<li class=${step.tone}>${step.text}</li>`)}</ul>`;
}

const short = (value) => Object.entries(value).filter(([, one]) => one !== "" && one !== null && one !== 0 && one !== false).map(([name, one]) => `${name} ${typeof one === "object" ? JSON.stringify(one) : one}`).join(", ");

const CLASSES = { input: "Input", cache_read: "Read from the provider's cache", cache_write: "Written to it", cache_write_1h: "Written to it for 1 h", output: "Output", reasoning: "of it reasoning", input_audio: "of input audio", output_audio: "of output audio", input_image: "of input images", output_image: "of output images" };

function Usage({ record }) {
  const classes = Object.entries(CLASSES).filter(([name]) => record.tokens?.[name]);
  const units = Object.entries(record.units ?? {}).filter(([, n]) => n);
  if (!classes.length && !units.length) return html`<p class="quiet note">Nothing was used${record.attempts.length ? ", as far as the provider said" : ": no provider was asked"}.</p>`;
  return html`<dl class="facts">
    ${classes.map(([name, text]) => html`<dt>${text}</dt><dd>${count(record.tokens[name])}</dd>`)}
    ${units.map(([name, n]) => html`<dt>${name.replaceAll("_", " ")}</dt><dd>${count(n)}</dd>`)}
    <dt>Cost</dt><dd class="strong">${record.priced ? money(record.cost_nano_usd) : html`<span class="quiet">no price is set for this model</span>`}</dd>
    <dt>Settled</dt><dd>${record.settled_by ?? "–"}</dd>
  </dl>`;
}
