// Addresses: `#/requests/01a2…?status=429`. A page is its path's first part; the rest are its arguments.
import { computed, signal } from "./lib.js";

const hash = signal(location.hash);
addEventListener("hashchange", () => (hash.value = location.hash));

export const place = computed(() => {
  const [path, search = ""] = hash.value.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decoded);
  return { page: parts[0] ?? "overview", parts: parts.slice(1), search: new URLSearchParams(search) };
});

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** `link("requests", id)` or `link("requests", { status: 429 })`. */
export function link(page, ...rest) {
  const search = typeof rest.at(-1) === "object" ? rest.pop() : {};
  const set = Object.entries(search).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const query = set.length ? `?${new URLSearchParams(set)}` : "";
  return `#/${[page, ...rest].map(encodeURIComponent).join("/")}${query}`;
}

export function go(...to) {
  location.hash = link(...to);
}

/** Puts the search into the address without a step in the history. */
export function setSearch(search) {
  const { page, parts } = place.value;
  history.replaceState(null, "", link(page, ...parts, search));
  hash.value = location.hash;
}
