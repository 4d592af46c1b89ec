"""A route that is changed and put back."""

from steps import call


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
