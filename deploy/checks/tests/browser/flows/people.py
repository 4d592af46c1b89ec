"""Somebody who is invited, chooses a password, and sees what their role does."""

import json
import urllib.error
import urllib.request

from steps import PATIENCE_S


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
    page.see("Where you are signed in")
    third = elsewhere("correct horse battery")
    page.go("keys")
    page.click("Your account")
    page.wait("document.querySelectorAll('tbody tr').length === 3", "their sessions, which takes no permission")
    page.click("Sign out user:vera")
    page.click("Sign out")
    page.see("That session has ended")
    page.wait("document.querySelectorAll('tbody tr').length === 2", "one session less")
    assert sorted([status(other), status(third)]) == [200, 401], "one of them was ended"
    other = other if status(other) == 200 else third
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
