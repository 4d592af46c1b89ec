"""The first minutes: signing in, a first key and request, a key's life, the playground; and the end of them."""

from steps import chat


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


def playground(page):
    page.go("playground")
    page.fill("Model", "demo/chat")
    page.fill("Your message", "Say <b>hello</b> <img src=x onerror=alert(1)>")
    page.click("Send")
    page.see("whole ")
    page.wait("document.querySelector('.bubble.assistant').textContent.length > 5", "what the model says")
    assert page.run("document.querySelectorAll('.chat b, .chat img').length") == 0, "what is said is text"
    page.picture("dashboard-playground")


def sign_out(page, master):
    page.click("Sign out")
    page.see("Master key")
    status = page.run("fetch('/admin/session').then((answer) => answer.status)")
    assert status == 401, "the session is dead"
