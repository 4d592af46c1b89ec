"""What requests leave behind: as they arrive, found again, as sessions, sent on to others."""

from steps import call, chat, listener


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
    page.picture("dashboard-request")
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
    page.picture("dashboard-requests")
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


def sessions(page, key):
    """Requests that a client marked as belonging together; whatever it calls them is text."""
    page.go("sessions")
    page.see("No sessions yet")
    hostile = "<img src=x onerror='document.title = 2'>/../?&%41"
    for session, model in (("trip-to-rome", "demo/plan"), ("trip-to-rome", "demo/book"), (hostile, "demo/odd"), ("trip-to-rome", "demo/pay")):
        assert chat(page, key, model, session) == 200
    page.go("overview")
    rows = "[...document.querySelectorAll('tbody tr')]"
    page.wait("fetch('/admin/logs/sessions').then((answer) => answer.json()).then(({ data }) => data.reduce((sum, one) => sum + one.requests, 0) === 4)", "four records")
    page.go("sessions")
    page.wait(f"{rows}.length === 2 && {rows}[0].textContent.includes('trip-to-rome')", "both sessions, the one used last before")
    page.fill("Search sessions", "<img")
    page.wait(f"{rows}.length === 1", "the one that begins like that")
    page.run(f"{rows}[0].click()")
    page.see("demo/odd")
    assert page.run("document.querySelector('[src=x]') === null && !document.title.includes('2')"), "what it is called is text"
    page.go("sessions")
    page.click("trip-to-rome")
    page.wait(f"{rows}.length === 3", "its requests")
    page.see("3")
    assert page.run("document.querySelectorAll('.track i').length") == 3, "each has its place in time"
    page.see("walker")
    page.picture("dashboard-session")
    page.run(f"{rows}.find((row) => row.textContent.includes('demo/book')).click()")
    page.see("Where the time went")
    page.see("trip-to-rome")
    page.run("document.querySelector('[aria-modal]').dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }))")


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
        page.picture("dashboard-exporters")
        assert any(b"demo/exported" in batch for _, batch in told), told
        assert call(f"{page.admin_url}/admin/exporters/away", master, method="DELETE")[0] in (200, 204)
