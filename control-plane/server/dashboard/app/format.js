// Numbers, times and money as people read them.
const LOCALE = "en-US";
const whole = new Intl.NumberFormat(LOCALE);
const compact = new Intl.NumberFormat(LOCALE, { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const moment = new Intl.DateTimeFormat(LOCALE, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hour12: false });
const full = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "medium" });

export const NONE = "–";

export const count = (n) => (n === null || n === undefined ? NONE : Math.abs(n) >= 100_000 ? compact.format(n) : whole.format(n));

export function rate(n) {
  if (n === null || n === undefined) return NONE;
  if (n === 0) return "0";
  return n >= 100 ? whole.format(Math.round(n)) : n >= 10 ? n.toFixed(1) : n.toFixed(2);
}

export function percent(part, all) {
  if (!all) return NONE;
  const share = (part / all) * 100;
  return `${share === 0 ? "0" : share < 0.1 ? "<0.1" : share < 10 ? share.toFixed(1) : Math.round(share)}%`;
}

/** From nano-dollars. Small amounts keep three digits that count. */
export function money(nano) {
  if (nano === null || nano === undefined) return NONE;
  const dollars = nano / 1e9;
  if (dollars === 0) return "$0";
  if (Math.abs(dollars) >= 1000) return `$${compact.format(dollars)}`;
  if (Math.abs(dollars) >= 0.1) return `$${dollars.toFixed(2)}`;
  return `$${dollars.toPrecision(2).replace(/e.*/, "")}`.length > 10 || dollars < 1e-6 ? "<$0.000001" : `$${trimmed(dollars)}`;
}

const trimmed = (dollars) => dollars.toFixed(Math.min(8, 2 - Math.floor(Math.log10(Math.abs(dollars))))).replace(/0+$/, "");

/** From microseconds. */
export function span(us) {
  if (us === null || us === undefined) return NONE;
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 10_000) return `${(us / 1000).toFixed(1)} ms`;
  if (us < 1_000_000) return `${Math.round(us / 1000)} ms`;
  if (us < 60_000_000) return `${(us / 1_000_000).toFixed(us < 10_000_000 ? 2 : 1)} s`;
  return `${Math.floor(us / 60_000_000)} min ${Math.round((us % 60_000_000) / 1_000_000)} s`;
}

export function bytes(n) {
  if (n === null || n === undefined) return NONE;
  const units = ["B", "KiB", "MiB", "GiB"];
  let at = 0;
  while (n >= 1024 && at < 3) [n, at] = [n / 1024, at + 1];
  return `${at && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[at]}`;
}

const date = (at) => (at instanceof Date ? at : new Date(at));
export const time = (at) => clock.format(date(at));
export const when = (at) => (at ? moment.format(date(at)) : NONE);
export const exact = (at) => (at ? full.format(date(at)) : NONE);

/** `3 min ago`, `in 2 h`. */
export function ago(at) {
  if (!at) return "never";
  const seconds = (Date.now() - date(at).getTime()) / 1000;
  const [past, s] = [seconds >= 0, Math.abs(seconds)];
  if (s < 5) return "now";
  const text = s < 60 ? `${Math.round(s)} s` : s < 3600 ? `${Math.round(s / 60)} min` : s < 86400 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
  return past ? `${text} ago` : `in ${text}`;
}

const PER = { s: "second", m: "minute", h: "hour", d: "day" };

/** `rpm` and its like in words; nothing for what is no rate. */
export function rateName(name) {
  const [, of, unit, per] = /^(input_|output_)?([rt])p([smhd])$/.exec(name) ?? [];
  return unit ? `${of ? `${of.slice(0, -1)} ` : ""}${unit === "r" ? "requests" : "tokens"} a ${PER[per]}` : undefined;
}

/** The limits of a key, a team … in words. */
export const limits = (of) => Object.entries(of ?? {}).filter(([, value]) => typeof value === "number").map(([name, value]) => `${count(value)} ${rateName(name) ?? { concurrency: "at once", max_tokens: "tokens a request" }[name] ?? name}`).join(", ");

export const tokens = (usage) => (usage ? Object.entries(usage).filter(([name, n]) => n > 0 && COUNTED.has(name)).reduce((sum, [, n]) => sum + n, 0) : 0);
const COUNTED = new Set(["input", "cache_read", "cache_write", "cache_write_1h", "output"]);
