// The libraries under one name: components are functions that return html`…`.
import { h, render } from "../vendor/preact.js";
import { useEffect, useRef, useState, useMemo } from "../vendor/preact-hooks.js";
import { signal, computed, effect, batch } from "../vendor/signals.js";
import htm from "../vendor/htm.js";

export const html = htm.bind(h);
export { h, render, useEffect, useRef, useState, useMemo, signal, computed, effect, batch };
