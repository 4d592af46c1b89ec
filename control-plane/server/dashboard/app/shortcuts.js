// Keys: `/` to search, `j` and `k` through a table, `g` and a letter to a page, `?` for this list, Esc to close or leave.
import { go } from "./router.js";

export const JUMPS = { o: "overview", r: "requests", k: "keys", p: "providers", m: "models", t: "routes", f: "fleet", c: "config", u: "cost", l: "playground", s: "setup", a: "audit", b: "budgets", w: "people", e: "sessions" };
const JUMP_MS = 1200;

export function listen(onHelp) {
  let jumpUntil = 0;
  const onKey = (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const isTyping = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (isTyping) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (document.querySelector("[aria-modal]")) return;
    if (Date.now() < jumpUntil && JUMPS[event.key]) {
      jumpUntil = 0;
      event.preventDefault();
      return go(JUMPS[event.key]);
    }
    const act = { "/": search, j: () => step(1), k: () => step(-1), g: () => (jumpUntil = Date.now() + JUMP_MS), "?": onHelp }[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  };
  addEventListener("keydown", onKey);
  return () => removeEventListener("keydown", onKey);
}

function search() {
  const box = document.querySelector("[data-search]");
  if (box) (box.focus(), box.select?.());
  else go("requests");
}

function step(by) {
  const rows = [...document.querySelectorAll("tbody tr[tabindex]")];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement);
  const next = rows[at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by))];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}
