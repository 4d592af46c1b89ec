// The public admin API, and nothing else of the server. Every answer that is a refusal becomes a Failure.
import { useEffect, useState } from "./lib.js";
import { outage, session, writes } from "./state.js";

/** A refusal: `message` says what happened and what to do; `problems` point at fields. */
export class Failure extends Error {
  constructor(status, code, message, problems = []) {
    super(message);
    Object.assign(this, { status, code, problems });
  }
}

const PATIENCE_MS = 330_000;

export async function call(method, path, body, { bearer, signal } = {}) {
  const headers = { accept: "application/json" };
  if (method !== "GET") headers["x-gateway-csrf"] = "1";
  if (body !== undefined) headers["content-type"] = "application/json";
  if (bearer) headers.authorization = `Bearer ${bearer}`;
  let response;
  try {
    const timeout = AbortSignal.timeout(PATIENCE_MS);
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      redirect: "error",
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    outage.value = { since: outage.value?.since ?? Date.now(), what: "The control plane does not answer." };
    throw new Failure(0, "unreachable", "the control plane does not answer; what is shown may be old");
  }
  const text = await response.text();
  const value = text ? safely(text) : null;
  if (response.ok) {
    outage.value = null;
    if (method !== "GET") writes.value += 1;
    return value;
  }
  const error = value?.error ?? {};
  if (response.status === 401 && !bearer) session.value = null;
  if (response.status === 503) {
    outage.value = { since: outage.value?.since ?? Date.now(), what: "The control plane cannot use its database." };
  }
  throw new Failure(response.status, error.code ?? "failed", error.message ?? `the answer was ${response.status}`, error.problems ?? []);
}

function safely(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export const get = (path, options) => call("GET", path, undefined, options);
export const post = (path, body, options) => call("POST", path, body, options);
export const put = (path, body) => call("PUT", path, body);
export const patch = (path, body) => call("PATCH", path, body);
export const remove = (path) => call("DELETE", path);

/** `?a=1&b=2` of what is set. */
export function query(parameters) {
  const set = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return set.length ? `?${new URLSearchParams(set)}` : "";
}

/** All pages of a list, up to `most` items. */
export async function all(path, most = 2000) {
  const items = [];
  let after;
  do {
    const page = await get(path + query({ limit: 500, after }).replace("?", path.includes("?") ? "&" : "?"));
    items.push(...page.data);
    after = page.next;
  } while (after && items.length < most);
  return items;
}

/**
 * What was spent by day and `by` (key, model, provider, team …), today (UTC) and `days - 1` days before it:
 * `{ today, data: [{ day, name, requests, input, cache_read, output, cost_nano_usd }] }`.
 */
export async function spending(by, days) {
  const date = (ms) => new Date(ms).toISOString().slice(0, 10);
  const rows = await all(`/admin/spend${query({ group_by: `${by},day`, from: date(Date.now() - (days - 1) * 86_400_000) })}`, 20_000);
  const data = rows.map(({ day, requests, tokens, cost_nano_usd, saved_nano_usd, ...row }) => ({ day, name: row[by], requests, input: tokens.input, cache_read: tokens.cache_read, output: tokens.output, cost_nano_usd, saved_nano_usd }));
  return { today: date(Date.now()), data };
}

/** What was loaded last under each name: shown at once when a page is opened again, and while the server is away. */
const known = new Map();

/**
 * Loads with `load` when `name` changes, and again every `every` milliseconds while the tab is seen.
 * Gives `{ data, error, loading, reload }`; `data` stays what it was when a later load fails.
 */
export function useLoad(name, load, every = 0) {
  const [state, setState] = useState(() => ({ name, data: known.get(name), error: null, loading: true }));
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let live = true;
    const run = async () => {
      try {
        const data = await load();
        known.set(name, data);
        if (live) setState({ name, data, error: null, loading: false });
      } catch (error) {
        if (live) setState({ name, data: known.get(name), error, loading: false });
      }
    };
    setState((before) => (before.name === name ? before : { name, data: known.get(name), error: null, loading: true }));
    run();
    const timer = every ? setInterval(() => document.visibilityState === "visible" && run(), every) : 0;
    return () => {
      live = false;
      clearInterval(timer);
    };
  }, [name, turn]);
  const current = state.name === name ? state : { data: known.get(name), error: null, loading: true };
  return { ...current, reload: () => setTurn((before) => before + 1) };
}

/** Ends with `stop()`. Calls back with each record; `onState` hears `open` or `waiting`. */
export function follow(parameters, onRecord, onState) {
  const source = new EventSource(`/admin/logs/follow${query(parameters)}`);
  source.onopen = () => onState("open");
  source.onerror = () => onState("waiting");
  source.onmessage = (event) => {
    const record = safely(event.data);
    if (record) onRecord(record);
  };
  return { stop: () => source.close() };
}

export async function restore() {
  try {
    session.value = await get("/admin/session");
  } catch (error) {
    if (error.status !== 401) setTimeout(restore, 2000);
  }
}

export async function signIn(key) {
  session.value = await call("POST", "/admin/session", undefined, { bearer: key });
}

export async function signInAs(email, password) {
  session.value = await call("POST", "/admin/session", { email, password });
}

export const acceptInvitation = (token, password) => call("POST", "/admin/invitation", { token, password });

export async function signOut() {
  await remove("/admin/session");
  session.value = null;
}
