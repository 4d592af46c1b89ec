// Forms made of JSON Schema: what the API's own description says of a kind is what can be filled in, so that a new field or a new kind
// needs nothing here.
import { html, useState } from "./lib.js";
import { all, get, useLoad } from "./api.js";
import { Check, Choice, Field, Text } from "./ui.js";
import { rateName } from "./format.js";
import { may } from "./state.js";
import { read, write } from "./yaml.js";

/** The API's description, loaded once. */
export const useApi = () => useLoad("openapi", () => get("/openapi.json"));

/** Every kind that has a list: `{ plural, name, schema }`. */
export function kinds(api) {
  const found = [];
  for (const [path, item] of Object.entries(api.paths)) {
    const plural = /^\/admin\/([a-z0-9_]+)$/.exec(path)?.[1];
    const body = item.post?.requestBody?.content?.["application/json"]?.schema;
    if (plural && body?.$ref && api.paths[`${path}/{name}`]) found.push({ plural, name: singular(plural), schema: resolve(api, body) });
  }
  return found;
}

export const singular = (plural) => (plural.endsWith("ies") ? `${plural.slice(0, -3)}y` : plural.slice(0, -1));

/** Follows references, and leaves `null` out of a choice of it and something else. */
export function resolve(api, schema) {
  let found = schema ?? {};
  for (let n = 0; n < 8; n += 1) {
    if (found.$ref) {
      const { $ref, ...beside } = found;
      found = { ...api.components.schemas[$ref.split("/").at(-1)], ...beside };
      continue;
    }
    const some = (found.anyOf ?? found.oneOf)?.filter((one) => one.type !== "null");
    if (some?.length === 1) {
      const { anyOf, oneOf, ...beside } = found;
      found = { ...resolve(api, some[0]), ...beside };
      continue;
    }
    break;
  }
  if (Array.isArray(found.type)) found = { ...found, type: found.type.find((one) => one !== "null") };
  return found;
}

const SHORT = /\b(usd|url|id|ip|api|jwt|jwks|oidc|a2a|ttl|tls|sse|mcp)(s?)\b/g;
/** A name as a label: words with capitals where they are usual, rates in full. */
export function titled(name) {
  const text = (rateName(name) ?? name).replaceAll("_", " ").replace(SHORT, (_, word, more) => word.toUpperCase() + more);
  return text[0].toUpperCase() + text.slice(1);
}
const plain = (text) => text?.replaceAll("`", "").split("\n\n")[0].replaceAll("\n", " ");

/** The fields of an object; `skip` names those that somebody else shows. A field that is emptied is taken away. */
export function Fields({ api, schema, value, onValue, skip = [], problems = [], path = "" }) {
  const required = new Set(schema.required ?? []);
  const names = Object.keys(schema.properties ?? {}).filter((name) => !skip.includes(name));
  const set = (name) => (one) => {
    const next = { ...value };
    if (one === undefined || one === "") delete next[name];
    else next[name] = one;
    onValue(next);
  };
  return html`<div class="stack">${names.map((name) => {
    const at = path ? `${path}.${name}` : name;
    const wrong = problems.find((problem) => problem.path === at || problem.path?.startsWith(`${at}[`));
    return html`<${One} key=${name} api=${api} name=${name} at=${at} schema=${resolve(api, schema.properties[name])} value=${value?.[name]} onValue=${set(name)} required=${required.has(name)} wrong=${wrong?.message} problems=${problems} />`;
  })}</div>`;
}

function One({ api, name, at, schema, value, onValue, required, wrong, problems }) {
  const label = `${titled(name)}${required ? "" : " (optional)"}`;
  const hint = plain(schema.description);
  const options = enumerated(schema);
  if (options?.length) return html`<${Choice} label=${label} hint=${hint} value=${value ?? ""} onValue=${onValue} options=${[...(required ? [] : [["", "default"]]), ...options.map((one) => [one, one])]} />`;
  if (schema.type === "boolean") return html`<${Check} checked=${value ?? schema.default ?? name === "enabled"} onValue=${onValue}>${titled(name)}${hint && html` <span class="quiet small">${hint}</span>`}<//>`;
  if (schema.type === "integer" || schema.type === "number") {
    return html`<${Text} label=${label} hint=${hint} wrong=${wrong} inputmode="decimal" value=${value ?? ""} onValue=${(text) => onValue(text.trim() === "" ? undefined : Number.isFinite(Number(text)) ? Number(text) : text)} />`;
  }
  if (schema.type === "string" || (!schema.type && !schema.properties && !schema.anyOf && !schema.oneOf && schema.description)) {
    const secret = schema.writeOnly || schema.format === "password";
    if (REFERENCES[name] && !secret) return html`<${Reference} plural=${REFERENCES[name]} label=${label} hint=${hint} wrong=${wrong} value=${value ?? ""} onValue=${onValue} required=${required} />`;
    return html`<${Text} label=${label} hint=${secret ? `${hint ? `${hint} ` : ""}Left empty, what is stored stays.` : hint} wrong=${wrong} type=${secret ? "password" : "text"} value=${value ?? ""} onValue=${onValue} required=${required} />`;
  }
  const among = schema.type === "array" && enumerated(resolve(api, schema.items));
  if (among) return html`<${Among} label=${label} hint=${wrong ?? hint} options=${among} value=${value ?? []} onValue=${onValue} />`;
  if (schema.type === "array" && resolve(api, schema.items).type === "string" && !resolve(api, schema.items).properties) {
    return html`<${Words} label=${label} hint=${hint} wrong=${wrong} value=${value} onValue=${onValue} />`;
  }
  if (schema.properties) {
    return html`<details class="group" open=${value !== undefined && Object.keys(value ?? {}).length > 0}><summary class="strong note">${titled(name)}</summary><div class="inner">
      ${hint && html`<p class="quiet small">${hint}</p>`}
      <${Fields} api=${api} schema=${schema} value=${value ?? {}} onValue=${(next) => onValue(Object.keys(next).length ? next : undefined)} problems=${problems} path=${at} /></div></details>`;
  }
  return html`<${AsYaml} label=${label} hint=${hint} wrong=${wrong} value=${value} onValue=${onValue} />`;
}

/** The values of a closed set; nothing where it is open. */
function enumerated(schema) {
  const values = schema.enum ?? schema.oneOf?.map((one) => one.const).filter((one) => one !== undefined);
  return values?.length ? values : undefined;
}

/** Some of a closed set. */
function Among({ label, hint, options, value, onValue }) {
  const toggle = (option) => (on) => {
    const next = options.filter((one) => (one === option ? on : value.includes(one)));
    onValue(next.length ? next : undefined);
  };
  return html`<fieldset class="field among"><legend class="label">${label}</legend>
    <div class="row wrap">${options.map((option) => html`<${Check} checked=${value.includes(option)} onValue=${toggle(option)}>${option}<//>`)}</div>
    ${hint && html`<span class="hint">${hint}</span>`}</fieldset>`;
}

/** Fields that name something else of this gateway. */
const REFERENCES = { team: "teams", user: "users", organization: "organizations", provider: "providers" };
const READS = { teams: "accounts:read", users: "accounts:read", organizations: "accounts:read", providers: "config:read" };

function Reference({ plural, ...rest }) {
  const known = useLoad(`names of ${plural}`, async () => (may(READS[plural]) ? (await all(`/admin/${plural}`)).map((item) => item.name) : []));
  return html`<${Text} list=${`known-${plural}`} ...${rest} /><datalist id=${`known-${plural}`}>${(known.data ?? []).map((name) => html`<option value=${name} />`)}</datalist>`;
}

/** Texts with commas between them. */
export function Words({ label, hint, wrong, value, onValue, ...rest }) {
  const [text, setText] = useState((value ?? []).join(", "));
  const take = (typed) => {
    setText(typed);
    const words = typed.split(",").map((word) => word.trim()).filter(Boolean);
    onValue(words.length ? words : undefined);
  };
  return html`<${Text} label=${label} hint=${hint ?? "Several with commas between them."} wrong=${wrong} value=${text} onValue=${take} ...${rest} />`;
}

function AsYaml({ label, hint, wrong, value, onValue }) {
  const [text, setText] = useState(value === undefined ? "" : write(value));
  const [bad, setBad] = useState(null);
  const take = (typed) => {
    setText(typed);
    try {
      onValue(typed.trim() ? read(typed) : undefined);
      setBad(null);
    } catch (error) {
      setBad(error.message);
    }
  };
  return html`<${Field} label=${`${label}, as YAML`} hint=${hint} wrong=${bad ?? wrong}>${(tie) => html`<textarea class="input mono" rows="3" spellcheck=${false} value=${text} onInput=${(event) => take(event.target.value)} ...${tie}></textarea>`}<//>`;
}
