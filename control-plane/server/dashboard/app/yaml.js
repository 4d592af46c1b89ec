// YAML as people write configurations: maps, lists, plain and quoted scalars, block texts, comments, and JSON wherever a value stands.
// What is beyond that (anchors, tags, several documents) is refused with its line and never guessed at.

export class YamlError extends Error {
  constructor(line, message) {
    super(`line ${line}: ${message}`);
    this.line = line;
  }
}

const PLAIN = /^[A-Za-z_/][\w ./+@-]*$/;
const WORDS = /^(true|false|null|yes|no|on|off|~)$/i;

/** A value as YAML text. */
export function write(value, indent = 0) {
  const pad = "  ".repeat(indent);
  if (Array.isArray(value)) {
    if (!value.length) return "[]";
    return value.map((one) => (isBranch(one) ? `${pad}- ${write(one, indent + 1).trimStart()}` : `${pad}- ${scalar(one)}`)).join("\n");
  }
  if (value && typeof value === "object") {
    const entries = Object.entries(value).filter(([, one]) => one !== undefined);
    if (!entries.length) return "{}";
    return entries.map(([key, one]) => `${pad}${scalar(key)}:${isBranch(one) ? `\n${write(one, indent + 1)}` : ` ${scalar(one)}`}`).join("\n");
  }
  return pad + scalar(value);
}

const isBranch = (value) => value && typeof value === "object" && Object.keys(value).length > 0;

function scalar(value) {
  if (typeof value !== "string") return value && typeof value === "object" ? (Array.isArray(value) ? "[]" : "{}") : String(value);
  return PLAIN.test(value) && !WORDS.test(value) && !value.endsWith(" ") ? value : JSON.stringify(value);
}

/** The value of a text: JSON, or YAML. */
export function read(text) {
  if (/^\s*[[{]/.test(text)) {
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new YamlError(1, `this is not JSON: ${error.message}`);
    }
  }
  const lines = text.split("\n").map((raw, at) => ({ raw, n: at + 1, indent: raw.search(/[^ ]/) }));
  lines.forEach((line) => {
    if (/^ *\t/.test(line.raw)) throw new YamlError(line.n, "a tab cannot indent; use spaces");
  });
  const state = { lines, at: 0 };
  const first = next(state);
  if (!first) return null;
  if (first.raw.startsWith("---")) throw new YamlError(first.n, "one document only; take `---` away");
  const value = block(state, first.indent);
  const rest = next(state);
  if (rest) throw new YamlError(rest.n, "this line is indented less than what it belongs to");
  return value;
}

/** The next line that says something. */
function next(state) {
  while (state.at < state.lines.length) {
    const line = state.lines[state.at];
    if (line.indent >= 0 && line.raw[line.indent] !== "#") return line;
    state.at += 1;
  }
  return null;
}

function block(state, indent) {
  const line = next(state);
  if (/^- |^-$/.test(line.raw.slice(indent))) return list(state, indent);
  if (keyOf(line, indent)) return map(state, indent);
  state.at += 1;
  return flow(line, line.raw.slice(indent));
}

function list(state, indent) {
  const items = [];
  for (let line = next(state); line && line.indent === indent && /^-( |$)/.test(line.raw.slice(indent)); line = next(state)) {
    const rest = line.raw.slice(indent + 1);
    const inner = rest.search(/[^ ]/);
    if (inner < 0 || rest[inner] === "#") {
      state.at += 1;
      items.push(nested(state, indent));
      continue;
    }
    // What stands behind the dash is as if it stood on a line of its own.
    const at = indent + 1 + inner;
    const seen = { ...line, indent: at, raw: " ".repeat(at) + line.raw.slice(at) };
    state.lines[state.at] = seen;
    items.push(block(state, at));
  }
  const line = next(state);
  if (line && line.indent > indent) throw new YamlError(line.n, "this line is indented more than the list it follows");
  return items;
}

function map(state, indent) {
  const found = {};
  for (let line = next(state); line && line.indent === indent; line = next(state)) {
    const key = keyOf(line, indent);
    if (!key) {
      if (/^-( |$)/.test(line.raw.slice(indent))) break;
      throw new YamlError(line.n, "expected `name: value`");
    }
    if (Object.hasOwn(found, key.name)) throw new YamlError(line.n, `\`${key.name}\` is there twice`);
    state.at += 1;
    const rest = key.rest;
    let value;
    if (/^[|>][+-]?\s*(#.*)?$/.test(rest)) value = text(state, indent, rest);
    else if (rest === "" || rest.startsWith("#")) value = nested(state, indent, true);
    else value = flow(line, rest);
    Object.defineProperty(found, key.name, { value, enumerable: true, writable: true, configurable: true });
  }
  const line = next(state);
  if (line && line.indent > indent) throw new YamlError(line.n, "this line is indented more than the one before it allows");
  return found;
}

/** What is indented below a `name:` or a dash; a list may stand at the name's own indent. */
function nested(state, indent, mayBeLevel = false) {
  const line = next(state);
  if (!line) return null;
  const isLevelList = mayBeLevel && line.indent === indent && /^-( |$)/.test(line.raw.slice(indent));
  return line.indent > indent || isLevelList ? block(state, line.indent) : null;
}

function keyOf(line, indent) {
  const text = line.raw.slice(indent);
  const quoted = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*:(?:\s+(.*))?$/.exec(text);
  if (quoted) return { name: flow(line, quoted[1]), rest: (quoted[2] ?? "").trim() };
  const plain = /^([^\s"'[\]{}#&*!|>%@`,-][^:#]*?|-[^\s:#][^:#]*?)\s*:(?:\s+(.*))?$/.exec(text);
  return plain && { name: plain[1], rest: (plain[2] ?? "").trim() };
}

/** `|` keeps line breaks, `>` makes spaces of them. */
function text(state, indent, mark) {
  const taken = [];
  let depth = -1;
  while (state.at < state.lines.length) {
    const line = state.lines[state.at];
    if (line.indent >= 0 && line.indent <= indent) break;
    if (line.indent >= 0 && depth < 0) depth = line.indent;
    taken.push(line.indent < 0 ? "" : line.raw.slice(depth));
    state.at += 1;
  }
  while (taken.at(-1) === "") taken.pop();
  const joined = mark.startsWith("|") ? taken.join("\n") : taken.join(" ").replace(/ {2,}/g, "\n");
  return mark.includes("-") ? joined : `${joined}\n`;
}

function flow(line, raw) {
  const text = raw.trim();
  if (/^[[{]/.test(text)) return bracketed(line, text);
  if (text.startsWith('"')) {
    const end = /^"(?:[^"\\]|\\.)*"(?=\s*(#.*)?$)/.exec(text);
    if (!end) throw new YamlError(line.n, "the quoted text does not end on its line");
    try {
      return JSON.parse(end[0]);
    } catch {
      throw new YamlError(line.n, "the quoted text has an escape that is not JSON's");
    }
  }
  if (text.startsWith("'")) {
    const end = /^'((?:[^']|'')*)'\s*(#.*)?$/.exec(text);
    if (!end) throw new YamlError(line.n, "the quoted text does not end on its line");
    return end[1].replaceAll("''", "'");
  }
  if (/^[&*!%@`]/.test(text)) throw new YamlError(line.n, "anchors, aliases and tags are not read here; use `gatewayctl apply -f`");
  return typed(text.replace(/\s+#.*$/, ""));
}

function typed(text) {
  if (/^(true|false)$/.test(text)) return text === "true";
  if (/^(null|~)?$/.test(text)) return null;
  if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text)) return Number(text);
  return text;
}

/** `[a, "b", 3]` and `{a: b}` on one line. */
function bracketed(line, text) {
  let at = 0;
  const skip = () => {
    while (text[at] === " ") at += 1;
  };
  const fail = (message) => {
    throw new YamlError(line.n, message);
  };
  const atom = (ends) => {
    if (text[at] === '"' || text[at] === "'") {
      const quote = text[at] === '"' ? /"(?:[^"\\]|\\.)*"/y : /'(?:[^']|'')*'/y;
      quote.lastIndex = at;
      const found = quote.exec(text)?.[0] ?? fail("the quoted text does not end on its line");
      at += found.length;
      return flow(line, found);
    }
    const from = at;
    while (at < text.length && !ends.includes(text[at])) at += 1;
    return typed(text.slice(from, at).trim());
  };
  const value = () => {
    skip();
    if (text[at] === "[") {
      at += 1;
      const items = [];
      for (skip(); text[at] !== "]"; skip()) {
        if (at >= text.length) fail("`[` is not closed on its line");
        items.push(value());
        skip();
        if (text[at] === ",") at += 1;
        else if (text[at] !== "]") fail("expected `,` or `]`");
      }
      at += 1;
      return items;
    }
    if (text[at] === "{") {
      at += 1;
      const found = {};
      for (skip(); text[at] !== "}"; skip()) {
        if (at >= text.length) fail("`{` is not closed on its line");
        const name = String(atom(":,}"));
        skip();
        if (text[at] !== ":") fail(`expected \`:\` after \`${name}\``);
        at += 1;
        const inner = value();
        Object.defineProperty(found, name, { value: inner, enumerable: true, writable: true, configurable: true });
        skip();
        if (text[at] === ",") at += 1;
        else if (text[at] !== "}") fail("expected `,` or `}`");
      }
      at += 1;
      return found;
    }
    return atom(",]}");
  };
  const result = value();
  skip();
  if (at < text.length && text[at] !== "#") fail("there is something behind the closing bracket");
  return result;
}
