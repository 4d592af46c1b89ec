"""The dashboard in a browser without a screen, as a person uses it: from the first minutes to signing out. Whatever the console complains
of, whatever the policy refuses and whatever goes to another origin fails it. `SCREENSHOTS=<folder>` keeps what was seen."""

import base64
import contextlib
import http.server
import json
import os
import pathlib
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from pages import Browser

PATIENCE_S = 30
WIDTHS = (1440, 900, 390)
PAGES = (
    "overview requests cost budgets alerts providers models routes keys people teams start playground setup fleet config resources audit exporters settings account"
).split()
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


# What the editor reads, and what it would rather refuse than guess (`None`).
YAML = (
    ("a: 1\nb: two  # said\nc: 'it''s'\nd: \"x: y # z\"\n", {"a": 1, "b": "two", "c": "it's", "d": "x: y # z"}),
    ("models:\n- name: m\n  targets:\n    - provider: p\n      model: gpt-4o:free\n- name: n\n", {"models": [{"name": "m", "targets": [{"provider": "p", "model": "gpt-4o:free"}]}, {"name": "n"}]}),
    ("a: [x, 'y, z', {b: true}]\nc: {}\nd:\ne: ~\n", {"a": ["x", "y, z", {"b": True}], "c": {}, "d": None, "e": None}),
    ("t: |\n  one\n    two\n\n  three\nu: >-\n  a\n  b\n", {"t": "one\n  two\n\nthree\n", "u": "a b"}),
    ("url: https://api.example.com/v1\nv: 007\nw: 1.5\nx: -3\ny: 'true'\n", {"url": "https://api.example.com/v1", "v": "007", "w": 1.5, "x": -3, "y": "true"}),
    ('{"a": [1, null]}', {"a": [1, None]}),
    ("- a\n-\n  - b\n- - c\n  - d\n", ["a", ["b"], ["c", "d"]]),
    ("__proto__: {polluted: true}\n", {"__proto__": {"polluted": True}}),
    ("a: 1\na: 2\n", None),
    ("a: &x 1\n", None),
    ("a: *x\n", None),
    ("a: !!str 1\n", None),
    ("a:\n\tb: 1\n", None),
    ("a: 1\n  b: 2\n", None),
    ("a: [1, 2\n", None),
    ("---\na: 1\n", None),
    ("a: \"open\n", None),
    ("words without a colon\nand: one\n", None),
)


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
        if folder := os.environ.get("SCREENSHOTS"):
            data = self.browser.call("Page.captureScreenshot")["data"]
            pathlib.Path(folder, f"{name}.png").write_bytes(base64.b64decode(data))


def call(url, key, body=None, method=None):
    """Status and value."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, method=method or ("POST" if data else "GET"))
    request.add_header("authorization", f"Bearer {key}")
    request.add_header("content-type", "application/json")
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


def chat(page, key, model="demo/chat"):
    return call(f"{page.base_url}/v1/chat/completions", key, {"model": model, "messages": [{"role": "user", "content": "hello"}]})[0]


def sign_in(page, master):
    page.see("Sign in")
    page.fill("Master key", "gw_master_wrong")
    page.click("Sign in")
    page.see("This is not the master key")
    page.picture("sign-in")
    page.fill("Master key", master)
    page.click("Sign in")
    page.see("Overview")
    assert page.run("document.cookie") == "", "no script can read the session"
    assert master not in page.run("JSON.stringify([localStorage, sessionStorage])"), "the key stays nowhere"


def first_run(page):
    page.go("start")
    page.click("Use demo")
    page.click("Test")
    page.see("answered in")
    page.click("Create key")
    key = page.wait("tools.text('[data-secret]')", "the new key")
    assert chat(page, key) == 200
    page.wait("document.querySelector('[data-arrived]') !== null", "the first request to be seen")
    page.picture("start")


def life_of_a_key(page):
    page.go("keys")
    page.click("New key")
    page.fill("Name", "short-lived")
    page.click("Create key")
    page.see("Applied on 1/1 nodes")
    key = page.wait("tools.text('[data-secret]')", "the secret, once")
    page.click("I have kept it")
    assert chat(page, key) == 200
    page.click("short-lived")
    page.see("What it may do")
    page.click("Disable")
    page.see("disabled")
    assert chat(page, key) in (401, 403)
    page.click("Enable")
    page.see("active")
    assert chat(page, key) == 200
    page.click("Revoke")
    page.see("cannot be undone")
    page.click("Revoke")
    page.see("Denied on the nodes")
    page.see("Applied on 1/1 nodes")
    page.picture("key-revoked")
    assert chat(page, key) == 401, "it is denied when the meter says so"
    page.click("Close")


def live_tail(page, key):
    page.go("requests")
    page.click("Live tail")
    page.wait("[...document.querySelectorAll('button')].some((node) => node.textContent.trim() === 'Live')", "the stream to be open")
    before = page.run("document.querySelectorAll('tbody tr').length")
    assert chat(page, key, "demo/seen-live") == 200
    page.wait("[...document.querySelectorAll('tbody tr')][0]?.textContent.includes('demo/seen-live')", "the request to arrive by itself")
    assert page.run("document.querySelectorAll('tbody tr').length") == before + 1
    page.click("demo/seen-live")
    page.see("Where the time went")
    page.see("Decisions")
    page.picture("request")
    page.run("document.querySelector('[aria-modal]').dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }))")
    page.wait("document.querySelector('[aria-modal]') === null", "Esc to close it")


def searched_and_kept(page, master, key):
    """A request is found by words of its record; what was asked is shown as text where it was asked to be kept."""
    settings = f"{page.admin_url}/admin/settings?wait=applied"
    assert call(settings, master, {"log_bodies": {"request": True, "response": True}}, "PATCH")[0] in (200, 201)
    hostile = "<img src=x onerror='document.title = 1'> and somebody@example.com"
    asked = {"model": "demo/kept", "messages": [{"role": "user", "content": hostile}]}
    assert call(f"{page.base_url}/v1/chat/completions", key, asked)[0] == 200
    page.go("requests")
    page.fill("Search requests", "status:404 demo/kept")
    page.see("No request fits")
    page.fill("Search requests", "status:2xx model:demo/kept")
    page.wait("document.querySelectorAll('tbody tr').length === 1", "the one request that fits")
    assert "search=" in page.run("location.hash"), "the search is in the address"
    page.picture("requests")
    page.click("demo/kept")
    page.click("Show it")
    page.see("<img src=x")
    page.see("1 redacted")
    page.see("Answered")
    page.run("[...document.querySelectorAll('[aria-modal] h2, [aria-modal] h3')].find((node) => node.textContent.includes('asked and answered'))?.scrollIntoView()")
    page.wait("document.querySelector('.drawer').offsetHeight >= document.querySelector('.drawer > .body').offsetHeight", "a drawer as long as what is in it")
    page.picture("bodies")
    assert page.run("document.querySelector('[src=x]') === null && !document.body.textContent.includes('somebody@')")
    page.run("document.querySelector('[aria-modal]').dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }))")
    assert call(settings, master, {"log_bodies": None}, "PATCH")[0] == 200


def exporters(page, master, key):
    """Records go to whoever is configured, and the page says how that goes."""
    with listener() as (port, told):
        page.go("exporters")
        page.see("Records stay in the gateway's own log")
        hook = {"name": "hook", "type": "webhook", "url": f"http://127.0.0.1:{port}/", "secret": "0123456789abcdef", "allow_private_networks": True}
        away = {**hook, "name": "away", "url": "http://127.0.0.1:9/"}
        for exporter in (hook, away):
            assert call(f"{page.admin_url}/admin/exporters", master, exporter)[0] in (200, 201)
        page.see("nothing sent yet")
        page.click("Send a test to hook")
        page.see("took the test in")
        assert chat(page, key, "demo/exported") == 200
        page.see("delivering")
        page.see("not taken")
        page.picture("exporters")
        assert any(b"demo/exported" in batch for _, batch in told), told
        assert call(f"{page.admin_url}/admin/exporters/away", master, method="DELETE")[0] in (200, 204)


def route_and_back(page, master):
    admin = f"{page.admin_url}/admin"
    for name in ("one", "two"):
        body = {"targets": [{"provider": "demo", "model": name}]}
        assert call(f"{admin}/models/{name}", master, body, "PUT")[0] == 201
    assert call(f"{admin}/routes/mine", master, {"match": {"model": "asked"}, "model": "one"}, "PUT")[0] == 201
    page.go("routes")
    page.click("mine")
    page.see("Match")
    page.click("YAML")
    page.fill("The document as YAML", "name: mine\nmatch: {model: asked}  # as before\nmodel: two\n")
    page.click("Plan")
    page.see("It would be changed")
    page.click("Save")
    page.see("Applied on 1/1 nodes")
    page.click("Done")
    assert call(f"{admin}/routes/mine", master)[1]["spec"]["model"] == "two"
    page.fill("Model it asks for", "asked")
    page.click("Where would it go?")
    page.see("demo/two")
    page.picture("routes")
    page.go("config?tab=history")
    page.see("update route mine")
    page.wait("document.querySelector('.diff .plus')?.textContent.includes('two')", "what the change was")
    page.picture("config")
    page.click("create route mine")
    page.click("Go back to it")
    page.see("in a new revision")
    page.click("Go back")
    page.see("Applied on 1/1 nodes")
    assert call(f"{admin}/routes/mine", master)[1]["spec"]["model"] == "one"


def budgets(page, master):
    page.go("budgets")
    page.see("No budgets yet")
    body = {"match": {"keys": ["*"]}, "amount_usd": 5, "window": "daily"}
    assert call(f"{page.admin_url}/admin/budgets/all-of-us", master, body, "PUT")[0] == 201
    page.see("all-of-us")
    page.see("of $5.00")
    page.picture("budgets")
    page.click("Raise all-of-us for a while")
    page.fill("Amount in US dollars", "9")
    page.click("Raise")
    page.see("raised until")
    page.see("of $9.00")
    budget = call(f"{page.admin_url}/admin/budgets/all-of-us", master)[1]["spec"]
    assert budget["override"]["amount_usd"] == "9" and budget["amount_usd"] == "5", budget
    page.click("Raise all-of-us for a while")
    page.click("End it now")
    page.see("of $5.00")
    assert not call(f"{page.admin_url}/admin/budgets/all-of-us", master)[1]["spec"].get("override")


def alerts(page, master):
    """A destination is made, tested, and keeps its secret when another one is made beside it."""
    with listener() as (port, told):
        page.go("alerts")
        page.see("Nobody is told yet")
        page.see("No budget has reached its marks")
        ops = {"name": "ops", "kind": "webhook", "url": f"http://127.0.0.1:{port}/", "secret": "0123456789abcdef", "allow_private_networks": True}
        assert call(f"{page.admin_url}/admin/settings", master, {"alerts": [ops]}, "PATCH")[0] in (200, 201)
        page.click("New destination")
        page.fill("Name", "channel")
        page.fill("Address", "https://hooks.slack.example.com/services/T0/B0")
        page.click("Create")
        page.see("channel")
        page.click("Send a test to ops")
        page.see("took the test in")
        page.picture("alerts")
        assert len(told) == 1 and told[0][0], "it is signed with the secret that it had"
        page.click("Take channel away")
        page.click("Take it away")
        page.wait("!document.querySelector('.page').textContent.includes('channel')", "the destination to be gone")
        assert [one["name"] for one in call(f"{page.admin_url}/admin/settings", master)[1]["spec"]["alerts"]] == ["ops"]


def repriced(page, master):
    """What had no price is charged by one that was set later: told first, then written."""
    price = {"provider": "demo", "model": "*", "input_per_1m": 1000, "output_per_1m": 1000}
    today = "/admin/spend?group_by=day"
    before = call(f"{page.admin_url}{today}", master)[1]["total"]
    assert before["requests"] > 0, before
    assert call(f"{page.admin_url}/admin/prices/demo", master, price, "PUT")[0] in (200, 201)
    page.go("cost")
    page.click("Reprice")
    page.click("What would differ?")
    page.see("would cost something else")
    assert call(f"{page.admin_url}{today}", master)[1]["total"]["cost_nano_usd"] == before["cost_nano_usd"], "it is told and not done"
    page.picture("reprice")
    page.click("Write it")
    page.see("have another cost now")
    assert call(f"{page.admin_url}{today}", master)[1]["total"]["cost_nano_usd"] > before["cost_nano_usd"]


def teams(page, master):
    team = {"budget": {"amount_usd": 40, "window": "monthly"}}
    page.go("teams")
    page.see("No team yet")
    assert call(f"{page.admin_url}/admin/teams/search", master, team, "PUT")[0] == 201
    page.go("teams?kind=organization")
    page.see("No organization yet")
    page.go("teams")
    page.see("of $40.00")
    page.click("search")
    page.see("None is on this account")
    page.picture("team")
    page.click("Close")


def yaml(page):
    script = """(async (texts) => {
      const { read, write } = await import('/ui/app/yaml.js');
      return JSON.stringify(texts.map((text) => {
        try { const value = read(text); return [value, read(write(value))]; } catch (error) { return error.message; }
      }));
    })(%s)"""
    for (text, expected), told in zip(YAML, json.loads(page.run(script % json.dumps([text for text, _ in YAML]))), strict=True):
        if expected is None:
            assert isinstance(told, str) and told.startswith("line "), (text, told)
        else:
            assert told == [expected, expected], (text, told)


def playground(page):
    page.go("playground")
    page.fill("Model", "demo/chat")
    page.fill("Your message", "Say <b>hello</b> <img src=x onerror=alert(1)>")
    page.click("Send")
    page.see("whole ")
    page.wait("document.querySelector('.bubble.assistant').textContent.length > 5", "what the model says")
    assert page.run("document.querySelectorAll('.chat b, .chat img').length") == 0, "what is said is text"
    page.picture("playground")


def every_page(page):
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            page.look(width, scheme)
            for name in PAGES:
                page.go(name)
                page.wait("document.querySelector('.page h1') && !document.querySelector('[aria-busy=true]')", f"{name} to be there")
                room, wide = page.run("[innerWidth, document.documentElement.scrollWidth]")
                if wide > room:
                    page.wrong.append(f"{name} at {width}, {scheme}: it is {wide} wide")
                if page.run("document.querySelector('.message.bad')?.textContent"):
                    page.wrong.append(f"{name}: {page.run('document.querySelector(`.message.bad`).textContent')}")
                unnamed = "[...document.querySelectorAll('button, a, input, select, textarea')].filter((node) => node.getClientRects().length && !node.textContent.trim() && !node.getAttribute('aria-label') && !node.labels?.length).map((node) => node.outerHTML.slice(0, 90))"
                page.wrong += [f"{name}: nobody says what this is: {node}" for node in page.run(unnamed)]
                cut = "[...document.querySelectorAll('.table-wrap')].filter((node) => node.scrollWidth > node.clientWidth + 1).length"
                if width == 390 and page.run(cut):
                    page.wrong.append(f"{name} at {width}: a table is wider than its card")
                page.picture(f"{name}-{width}-{scheme}")
    page.look(1440, "light")


def keyboard(page):
    press = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {{ key: '{}', bubbles: true, cancelable: true }}))"
    page.go("keys")
    page.see("my-first-app")
    page.run("document.body.focus(), document.activeElement.blur?.()")
    page.run(press.format("/"))
    page.wait("document.activeElement.matches('[data-search]')", "/ to search")
    page.run(press.format("Escape"))
    page.run(press.format("j"))
    page.wait("document.activeElement.matches('tr')", "j to go to the first row")
    page.run(press.format("Enter"))
    page.see("What it may do")
    page.click("Close")
    page.run("document.activeElement.blur?.()")
    page.run(press.format("g"))
    page.run(press.format("f"))
    page.see("Each node serves on")


def outage(page):
    page.go("models")
    page.see("demo/one")
    page.go("fleet")
    page.see("Connected")
    page.listen()
    page.is_away = True
    away = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.browser.call("Network.emulateNetworkConditions", offline=True, **away)
    page.see("this dashboard is read-only")
    page.go("models")
    page.see("Names that clients ask for")
    page.see("demo/one")
    page.picture("outage")
    page.browser.call("Network.emulateNetworkConditions", offline=False, **away)
    page.go("fleet")
    page.wait("document.querySelector('.banner') === null", "the outage to be over")
    page.listen()
    page.is_away = False


def sign_out(page, master):
    page.click("Sign out")
    page.see("Master key")
    status = page.run("fetch('/admin/session').then((answer) => answer.status)")
    assert status == 401, "the session is dead"


def invitation(page):
    """Made in one go with the person; where it leads."""
    page.go("people")
    page.see("Nobody but the master key yet")
    page.click("New person")
    page.fill("Name", "vera")
    page.fill("E-mail address", "vera@example.com")
    page.see("Sees the configuration")
    page.look(390, "dark")
    assert page.run("document.querySelector('.dialog').getBoundingClientRect().right <= innerWidth"), "it fits a narrow screen"
    page.look(1440, "light")
    page.click("Create and invite")
    link = page.wait("tools.text('[data-secret]')", "the invitation, once")
    assert link.startswith(f"{page.admin_url}/#/invitation/"), link
    page.click("Done")
    page.click("vera")
    page.see("vera@example.com")
    page.picture("person")
    page.click("Close")
    page.go("people?tab=roles")
    page.see("team admin")
    page.go("people?tab=sessions")
    page.see("this browser")
    return link.split("#/")[1]


def a_person(page, admin_url, link):
    """With a password of their own, which they change, and no more buttons than their role has."""
    page.go(link)
    page.see("Choose a password")
    page.fill("New password", "correct horse battery")
    page.click("Set password")
    page.see("Your password is set")
    page.fill("E-mail address", "vera@example.com")
    page.fill("Password", "correct horse battery")
    page.picture("sign-in-person")
    page.click("Sign in")
    page.see("vera · viewer")
    page.go("keys")
    page.see("New key")
    disabled = "[...document.querySelectorAll('button')].find((one) => one.textContent.trim() === 'New key').disabled"
    assert page.run(disabled), "a viewer makes no keys"
    assert not page.run("document.querySelector('nav a[href=\"#/audit\"]')"), "what is not theirs to see is not offered"
    own_password(page, admin_url)
    page.click("Sign out")
    page.see("E-mail address")


def own_password(page, admin_url):
    def elsewhere(password):
        body = json.dumps({"email": "vera@example.com", "password": password}).encode()
        request = urllib.request.Request(f"{admin_url}/admin/session", data=body, headers={"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.headers["set-cookie"].split(";")[0]
        except urllib.error.HTTPError as error:
            return error.code

    def status(cookie):
        request = urllib.request.Request(f"{admin_url}/admin/session", headers={"cookie": cookie})
        try:
            return urllib.request.urlopen(request, timeout=PATIENCE_S).status
        except urllib.error.HTTPError as error:
            return error.code

    other = elsewhere("correct horse battery")
    assert status(other) == 200
    page.click("Your account")
    page.see("What you may do")
    ready = "!document.querySelector('form button[type=submit]').disabled"
    page.fill("New password", "short")
    page.see("5 more to go")
    page.fill("New password", "another horse entirely")
    page.fill("Once more", "another horse entirel")
    page.see("not the same")
    page.fill("Current password", "not it at all")
    assert not page.run(ready), "what is not the same twice is not sent"
    page.fill("Once more", "another horse entirely")
    page.listen()
    page.expected = ("/admin/session/password",)
    page.click("Change password")
    page.see("This is not your current password")
    page.picture("account")
    page.fill("Current password", "correct horse battery")
    page.click("Change password")
    page.see("Your password is changed")
    page.listen()
    page.expected = ()
    assert status(other) == 401, "the session elsewhere has ended"
    assert elsewhere("correct horse battery") == 401
    assert status(elsewhere("another horse entirely")) == 200


def main(program, admin_url, base_url, master):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Browser(program, profile) as browser:
        for domain in ("Page", "Log", "Runtime", "Network"):
            browser.call(f"{domain}.enable")
        page = Page(browser, admin_url, base_url)
        page.look(1440, "light")
        browser.open(f"{admin_url}/")
        sign_in(page, master)
        key = call(f"{admin_url}/admin/keys?wait=applied", master, {"name": "walker"})[1]["key"]
        first_run(page)
        life_of_a_key(page)
        live_tail(page, key)
        searched_and_kept(page, master, key)
        exporters(page, master, key)
        route_and_back(page, master)
        budgets(page, master)
        alerts(page, master)
        repriced(page, master)
        teams(page, master)
        link = invitation(page)
        yaml(page)
        playground(page)
        keyboard(page)
        outage(page)
        every_page(page)
        sign_out(page, master)
        a_person(page, admin_url, link)
        page.listen()
        strangers = page.origins - {admin_url, base_url}
        page.wrong += [f"a request went to {stranger}" for stranger in strangers]
        sys.exit("\n".join(page.wrong) or None)


if __name__ == "__main__":
    main(*sys.argv[1:])
