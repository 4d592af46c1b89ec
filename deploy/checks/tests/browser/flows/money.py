"""Budgets, who is told of them, prices that come later, teams."""

from steps import call, chat, listener


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


def acknowledged(page, master, key):
    """Somebody sees to an alert, and it is sent no more; the destination that it would go to does not listen."""
    budget = {"match": {"keys": ["*"]}, "amount_usd": "0.000001", "window": "daily", "on_exhausted": "alert", "alert_at": [100]}
    price = {"provider": "demo", "model": "watched", "input_per_1m": 1000, "output_per_1m": 1000}
    assert call(f"{page.admin_url}/admin/prices/watched?wait=applied", master, price, "PUT")[0] == 201
    assert call(f"{page.admin_url}/admin/budgets/watched?wait=applied", master, budget, "PUT")[0] == 201
    assert chat(page, key, "demo/watched") == 200
    page.go("alerts")
    page.see("watched")
    page.see("not taken")
    page.click("Acknowledge 100 % of watched")
    page.see("master")
    page.wait("document.querySelector('.page').textContent.includes('Seen to by') && !document.querySelector('.page').textContent.includes('not taken')", "nothing to wait any more")
    page.picture("acknowledged")
    assert call(f"{page.admin_url}/admin/alerts", master)[1]["alerts"][0]["acknowledged_by"] == "master"
    assert call(f"{page.admin_url}/admin/budgets/watched", master, method="DELETE")[0] in (200, 204)


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
