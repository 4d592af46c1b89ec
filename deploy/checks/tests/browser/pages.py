"""The pages of a running gateway in a browser without a screen, over its debugging protocol: at three widths, dark and light,
everything unfolded. `SCREENSHOTS=<folder>` keeps what was seen."""

import base64
import itertools
import json
import os
import pathlib
import re
import select
import subprocess
import sys
import tempfile

WIDTHS = (390, 820, 1400)
PATIENCE_S = 30
# What is read on a page: is all of it there, does it fit, can it be read (WCAG 2.2, 1.4.3), is it as dark as was asked for?
LOOK = """
(() => {
  for (const folded of document.querySelectorAll('details')) folded.open = true;
  const channels = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = channels(colour).map((c) => (c /= 255, c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (!colour.endsWith(', 0)')) return luminance(colour);
    }
    return 1;
  };
  const contrast = (node) => {
    const [a, b] = [luminance(getComputedStyle(node).color), ground(node)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const texts = [...document.querySelectorAll('main *, nav *')].filter(
    (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
  const worst = texts.map((node) => [contrast(node), node.outerHTML.slice(0, 80)]).sort((a, b) => a[0] - b[0])[0] ?? [0, 'no text'];
  const wide = texts.filter((node) => node.getBoundingClientRect().right > innerWidth + 1).map((node) => node.outerHTML.slice(0, 80));
  return JSON.stringify({
    title: document.title, n_texts: texts.length, n_folded: document.querySelectorAll('details').length,
    width: document.documentElement.scrollWidth, room: innerWidth, worst, wide: wide.slice(0, 3), ground: ground(document.body),
    rules: [...document.styleSheets].map((sheet) => sheet.cssRules.length)[0] ?? 0,
  });
})()
"""
# A link to a schema leads to it and unfolds it.
FOLLOW = """
new Promise((resolve) => {
  for (const folded of document.querySelectorAll('details')) folded.open = false;
  const link = document.querySelector('a[href^="#schema-"]');
  addEventListener('hashchange', () => {
    const target = document.querySelector(':target');
    const { top, height } = target.getBoundingClientRect();
    resolve(JSON.stringify({ open: target.closest('details').open, seen: height > 0 && top >= 0 && top < innerHeight }));
  });
  link.click();
})
"""


class Browser:
    """Its only page, over a pipe: a browser ends when nobody holds the other end, however that came about."""

    def __init__(self, program, profile):
        commands, self.commands = os.pipe()
        self.answers, answers = os.pipe()
        flags = ["--remote-debugging-pipe", f"--user-data-dir={profile}", "--disable-gpu", "--hide-scrollbars"]
        # Root has no sandbox to give; the pages are our own.
        flags += ["--no-sandbox"] if os.geteuid() == 0 else []
        ends = f'exec "$0" "$@" 3<&{commands} 4>&{answers}'
        self.process = subprocess.Popen(
            ["sh", "-c", ends, program, *flags, "about:blank"], pass_fds=(commands, answers), stderr=subprocess.DEVNULL
        )
        os.close(commands)
        os.close(answers)
        self.buffer, self.ids, self.events, self.session = b"", itertools.count(1), [], {}
        pages = self.call("Target.getTargets", filter=[{"type": "page"}])["targetInfos"]
        attached = self.call("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self.session = {"sessionId": attached["sessionId"]}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.commands)
        os.close(self.answers)
        self.process.wait(PATIENCE_S)

    def receive(self):
        while b"\0" not in self.buffer:
            assert select.select([self.answers], [], [], PATIENCE_S)[0], "the browser is silent"
            piece = os.read(self.answers, 1 << 20)
            assert piece, "the browser has ended"
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **parameters):
        sent = next(self.ids)
        os.write(self.commands, json.dumps({"id": sent, "method": method, "params": parameters, **self.session}).encode() + b"\0")
        while True:
            message = self.receive()
            if message.get("id") == sent:
                assert "error" not in message, f"{method}: {message}"
                return message["result"]
            self.events.append(message)

    def until(self, event):
        while not any(seen.get("method") == event for seen in self.events):
            self.events.append(self.receive())

    def run(self, script):
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return json.loads(result["result"]["value"])

    def open(self, url):
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.until("Page.loadEventFired")

    def complaints(self):
        """What the browser has to say: refused by a policy, not found, failed."""
        entries = [seen["params"]["entry"] for seen in self.events if seen.get("method") == "Log.entryAdded"]
        return [entry["text"] for entry in entries if entry["level"] in ("error", "warning")]


def check(browser, url, width, scheme):
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=1, mobile=False)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(url)
    if folder := os.environ.get("SCREENSHOTS"):
        picture = base64.b64decode(browser.call("Page.captureScreenshot")["data"])
        name = re.sub(r"\W+", "-", url.split("//")[1]) + f"-{width}-{scheme}.png"
        pathlib.Path(folder, name).write_bytes(picture)
    seen = browser.run(LOOK)
    wrong = [f"the browser says: {text}" for text in browser.complaints()]
    is_reference = url.endswith("/docs")
    expectations = {
        "it has its style": seen["rules"] > 20,
        "it has a title": seen["title"].startswith("Gateway"),
        "everything is on it": seen["n_folded"] > 100 if is_reference else seen["n_texts"] > 5,
        "nothing sticks out": seen["width"] <= seen["room"] == width and not seen["wide"],
        "it can be read": seen["worst"][0] >= 4.5,
        "it is as dark as was asked for": seen["ground"] < 0.05 if scheme == "dark" else seen["ground"] > 0.85,
    }
    wrong += [f"not so: {what} ({seen})" for what, holds in expectations.items() if not holds]
    if is_reference and (followed := browser.run(FOLLOW)) != {"open": True, "seen": True}:
        wrong.append(f"a link to a schema does not show it: {followed}")
    return [f"{url} at {width}, {scheme}: {one}" for one in wrong]


def main(program, *urls):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Browser(program, profile) as browser:
        for domain in ("Page", "Log", "Runtime"):
            browser.call(f"{domain}.enable")
        cases = itertools.product(urls, WIDTHS, ("light", "dark"))
        wrong = [one for case in cases for one in check(browser, *case)]
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main(*sys.argv[1:])
