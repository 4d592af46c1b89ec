// What all pages share: who is signed in, whether the control plane answers, the theme, and short notices.
import { signal } from "./lib.js";

/** `undefined` while unknown, `null` where nobody is signed in. */
export const session = signal(undefined);
/** What keeps the API from answering as it should; pages then show what they had. */
export const outage = signal(null);
/** Counts what this page has changed, for who shows what hangs on it. */
export const writes = signal(0);
export const notices = signal([]);
export const theme = signal(read("theme") ?? "system");

/** Whether who is signed in has this permission. The server decides; this only keeps a page from offering what it would refuse. */
export const may = (permission) => !permission || !session.value?.permissions || session.value.permissions.includes(permission);

const FAMILIES = { keys: "keys", organizations: "accounts", teams: "accounts", users: "accounts", prices: "money", budgets: "money" };
/** What it takes to change resources of this kind. */
export const writing = (plural) => `${FAMILIES[plural] ?? "config"}:write`;

/** Where applications reach the gateway, without `/v1`. */
export const publicUrl = document.querySelector('meta[name="gateway-public-url"]').content;
/** The base URL as it is shown where it is not known here. */
export const shownUrl = publicUrl || "https://gateway.example.com";

/** Secrets of keys that this page has seen made. They live as long as the page and are written nowhere. */
export const secrets = signal({});

let nextNotice = 0;

export function notify(text, tone = "good") {
  const id = nextNotice++;
  notices.value = [...notices.value, { id, text, tone }].slice(-4);
  setTimeout(() => dismiss(id), tone === "bad" ? 12000 : 5000);
}

export function dismiss(id) {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

export function setTheme(name) {
  theme.value = name;
  write("theme", name);
  applyTheme();
}

export function applyTheme() {
  if (theme.value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
}

/** Small things that the browser remembers; a browser that may not is as good. */
export function read(name) {
  try {
    return localStorage.getItem(`gateway.${name}`);
  } catch {
    return null;
  }
}

export function write(name, value) {
  try {
    localStorage.setItem(`gateway.${name}`, value);
  } catch {
    // A private window: the choice lasts as long as the page.
  }
}
