"""The dashboard in a browser without a screen, as a person uses it: from the first minutes to signing out. Whatever the console complains
of, whatever the policy refuses and whatever goes to another origin fails it. A module of `flows` is what somebody is about.

`SCREENSHOTS=<folder>` keeps what was seen; those that begin with `dashboard-` are the pictures of `docs/images`."""

import sys
import tempfile

from flows import money, people, records, routing, shell, start
from pages import Browser
from steps import Page, call


def main(program, admin_url, base_url, master):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Browser(program, profile) as browser:
        for domain in ("Page", "Log", "Runtime", "Network"):
            browser.call(f"{domain}.enable")
        page = Page(browser, admin_url, base_url)
        page.look(1440, "light")
        browser.open(f"{admin_url}/")
        start.sign_in(page, master)
        key = call(f"{admin_url}/admin/keys?wait=applied", master, {"name": "walker"})[1]["key"]
        start.first_run(page)
        start.life_of_a_key(page)
        records.live_tail(page, key)
        records.searched_and_kept(page, master, key)
        records.sessions(page, key)
        records.exporters(page, master, key)
        routing.route_and_back(page, master)
        money.budgets(page, master)
        money.alerts(page, master)
        money.repriced(page, master)
        money.acknowledged(page, master, key)
        money.teams(page, master)
        link = people.invitation(page)
        shell.yaml(page)
        start.playground(page)
        shell.pictures(page)
        shell.keyboard(page)
        shell.outage(page)
        shell.every_page(page)
        start.sign_out(page, master)
        people.a_person(page, admin_url, link)
        page.listen()
        strangers = page.origins - {admin_url, base_url}
        page.wrong += [f"a request went to {stranger}" for stranger in strangers]
        sys.exit("\n".join(page.wrong) or None)


if __name__ == "__main__":
    main(*sys.argv[1:])
