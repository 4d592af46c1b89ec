"""What holds on every page: it fits, says what it is, goes by keys, and outlives an outage; and the editor's language."""

import json

WIDTHS = (1440, 900, 390)
PAGES = (
    "overview requests sessions cost budgets alerts providers models routes keys people teams start playground setup fleet config resources audit exporters settings account"
).split()
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


def yaml(page):
    script = """(async (texts) => {
      const { read, write } = await import(new URL('yaml.js', document.querySelector('script[type=module]').src));
      return JSON.stringify(texts.map((text) => {
        try { const value = read(text); return [value, read(write(value))]; } catch (error) { return error.message; }
      }));
    })(%s)"""
    for (text, expected), told in zip(YAML, json.loads(page.run(script % json.dumps([text for text, _ in YAML]))), strict=True):
        if expected is None:
            assert isinstance(told, str) and told.startswith("line "), (text, told)
        else:
            assert told == [expected, expected], (text, told)


def pictures(page):
    """Those of the documentation that no other flow comes by."""
    for name in ("overview", "cost"):
        page.go(name)
        page.wait("document.querySelector('.page h1') && !document.querySelector('[aria-busy=true]')", f"{name} to be there")
        page.picture(f"dashboard-{name}")


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
