"""What a walk is made of: a page that is read and pressed by the words on it, calls beside it, somebody who is told things."""

import base64
import contextlib
import http.server
import json
import os
import pathlib
import sys
import threading
import time
import urllib.error
import urllib.request

PATIENCE_S = 30
# How a person finds things: by the words on them.
TOOLS = """
(() => {
  const seen = (node) => node.getClientRects().length > 0;
  const words = (node) => (node.getAttribute('aria-label') ?? '') + ' ' + node.textContent.replace(/\\s+/g, ' ').trim();
  const top = () => [...document.querySelectorAll('[aria-modal]')].at(-1) ?? document;
  const find = (text, kinds) => [...top().querySelectorAll(kinds)].filter(seen).find((node) => words(node).includes(text));
  const labelled = (label) => {
    const tie = [...top().querySelectorAll('label')].filter(seen).find((node) => node.textContent.trim().startsWith(label));
    return tie ? document.getElementById(tie.htmlFor) : [...top().querySelectorAll('input, textarea, select')].filter(seen)
      .find((node) => (node.getAttribute('aria-label') ?? '').startsWith(label));
  };
  window.tools = {
    click(text) {
      const node = find(text, 'button, a, summary, tr[tabindex]');
      if (!node || node.disabled) return false;
      node.click();
      return true;
    },
    fill(label, value) {
      const node = labelled(label);
      if (!node) return false;
      node.focus();
      node.value = value;
      node.dispatchEvent(new Event('input', { bubbles: true }));
      node.dispatchEvent(new Event('change', { bubbles: true }));
      return true;
    },
    has: (text) => top().querySelector('.body, .page, main, form, header')?.getRootNode() && (top().body ?? top()).textContent.includes(text),
    text: (selector) => top().querySelector(selector)?.textContent ?? null,
  };
  return true;
})()
"""


class Page:
    def __init__(self, browser, admin_url, base_url):
        self.browser, self.admin_url, self.base_url = browser, admin_url, base_url
        self.wrong, self.origins, self.is_away, self.expected = [], set(), False, ()

    def run(self, script):
        result = self.browser.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, (script, result)
        self.listen()
        return result["result"].get("value")

    def wait(self, script, what=None):
        """Until it holds; told by what was hoped for, with what stands on the page instead."""
        until = time.monotonic() + PATIENCE_S
        while not (value := self.run(f"window.tools ? ({script}) : ({TOOLS.strip()}, {script})")):
            if time.monotonic() > until:
                sys.exit(f"in vain: {what or script}\n{self.run('document.body.innerText')[:3000]}\n" + "\n".join(self.wrong))
            time.sleep(0.03)
        return value

    def click(self, text):
        self.wait(f"tools.click({json.dumps(text)})", f"something to press that says `{text}`")

    def fill(self, label, value):
        self.wait(f"tools.fill({json.dumps(label)}, {json.dumps(value)})", f"a field `{label}`")

    def see(self, text):
        self.wait(f"tools.has({json.dumps(text)})", f"`{text}`")

    def go(self, page):
        self.run(f"location.hash = {json.dumps('#/' + page)}")

    def listen(self):
        """What the browser had to say since the last time."""
        events, self.browser.events[:] = list(self.browser.events), []
        for event in events:
            method, parameters = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                self.wrong.append(f"exception: {json.dumps(parameters['exceptionDetails'])[:600]}")
            elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
                self.wrong.append(f"console: {json.dumps(parameters['args'])[:600]}")
            elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                entry = parameters["entry"]
                # Who is not signed in yet is told so.
                is_expected = entry.get("url", "").endswith("/admin/session") and "401" in entry["text"]
                is_expected |= "ERR_INTERNET_DISCONNECTED" in entry["text"] and self.is_away
                is_expected |= any(entry.get("url", "").endswith(path) for path in self.expected)
                self.wrong += [] if is_expected else [f"log: {entry['text']} {entry.get('url', '')}"]
            elif method == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith(("data:", "about:", "blob:")):
                self.origins.add("/".join(parameters["request"]["url"].split("/")[:3]))

    def look(self, width, scheme):
        self.browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
        self.browser.call("Emulation.setEmulatedMedia", features=features)

    def picture(self, name):
        """As it looks once what it had to say for a moment is gone."""
        if folder := os.environ.get("SCREENSHOTS"):
            self.run("document.querySelectorAll('.notices button').forEach((node) => node.click())")
            self.wait("document.querySelector('.notices button') === null", "notices to be gone")
            data = self.browser.call("Page.captureScreenshot", format="webp", quality=80)["data"]
            pathlib.Path(folder, f"{name}.webp").write_bytes(base64.b64decode(data))


def call(url, key, body=None, method=None, headers=None):
    """Status and value."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, method=method or ("POST" if data else "GET"))
    request.add_header("authorization", f"Bearer {key}")
    request.add_header("content-type", "application/json")
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


@contextlib.contextmanager
def listener():
    """A port on which everything is taken, and the signature and body of each call."""
    told = []

    class Sink(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            told.append((self.headers.get("x-gateway-signature"), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Sink) as sink:
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        yield sink.server_port, told
        sink.shutdown()


def chat(page, key, model="demo/chat", session=None):
    headers = {"x-gateway-sessionid": session} if session else {}
    return call(f"{page.base_url}/v1/chat/completions", key, {"model": model, "messages": [{"role": "user", "content": "hello"}]}, headers=headers)[0]
