// The gateway's public API, called as applications call it: with a virtual key, never with the session.
import { all, post, query, remove } from "./api.js";
import { publicUrl, secrets } from "./state.js";

const TAG = "dashboard-temporary";
const HOUR_MS = 3_600_000;

/** Why a call did not come through, in words that help. */
export class CallError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** A key of this page's own that ends within the hour. Its secret is in this page's memory only. */
export async function temporaryKey() {
  const known = secrets.value[TAG];
  if (known && known.until > Date.now()) return known.key;
  const until = Date.now() + HOUR_MS;
  const stale = (await all("/admin/keys")).filter((key) => key.tags.includes(TAG) && new Date(key.expires_at) < new Date());
  await Promise.allSettled(stale.map((key) => remove(`/admin/keys/${key.id}`)));
  const name = `playground-${Math.random().toString(36).slice(2, 8)}`;
  const made = await post(`/admin/keys${query({ wait: "applied", timeout: "10s" })}`, { name, tags: [TAG], expires_at: new Date(until).toISOString() });
  secrets.value = { ...secrets.value, [TAG]: { key: made.key, name: made.name, until: until - 60_000 } };
  return made.key;
}

async function send(path, key, body, signal) {
  if (!publicUrl) throw new CallError(0, "this control plane does not know where the gateway's public API is; start it with --public-url");
  const headers = { authorization: `Bearer ${key}` };
  if (body) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(publicUrl + path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), credentials: "omit", signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new CallError(0, `the browser could not call ${publicUrl}: it does not answer from here, or settings.server.cors_origins does not name ${location.origin}`);
  }
  if (response.ok) return response;
  const text = await response.text();
  let message = text.slice(0, 400);
  try {
    const { error } = JSON.parse(text);
    message = error?.message ?? message;
  } catch {
    // It is not JSON: shown as it is.
  }
  throw new CallError(response.status, message);
}

export async function models(key) {
  const { data } = await (await send("/v1/models", key)).json();
  return data.map((model) => model.id);
}

/**
 * Streams a conversation. `onText` hears each piece; the result is `{ text, usage, requestId, firstMs, totalMs, reason }`.
 */
export async function converse({ key, model, messages, settings = {}, signal, onText }) {
  const began = performance.now();
  const body = { model, messages, stream: true, stream_options: { include_usage: true }, ...settings };
  const response = await send("/v1/chat/completions", key, body, signal);
  const result = { text: "", usage: null, reason: null, requestId: response.headers.get("x-gateway-request-id"), firstMs: null, totalMs: null };
  for await (const data of events(response.body)) {
    if (data === "[DONE]") break;
    const event = JSON.parse(data);
    if (event.error) throw new CallError(response.status, event.error.message ?? "the stream was cut off");
    const choice = event.choices?.[0];
    const piece = choice?.delta?.content;
    if (piece) {
      result.firstMs ??= performance.now() - began;
      result.text += piece;
      onText?.(result.text);
    }
    result.reason = choice?.finish_reason ?? result.reason;
    result.usage = event.usage ?? result.usage;
  }
  result.totalMs = performance.now() - began;
  return result;
}

/** The `data` of server-sent events, whatever pieces they come in. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    buffer += value ?? "";
    const blocks = buffer.split(/\r?\n\r?\n/);
    buffer = done ? "" : blocks.pop();
    for (const block of blocks) {
      const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
      if (data.length) yield data.join("\n");
    }
    if (done) return;
  }
}
