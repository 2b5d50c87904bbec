"""Signing in with a real browser at a real provider, in a window and for a command line."""

import httpx
import pytest

from tests.pages import chromium
from tests.sign_in.conftest import GROUPS, let_group, registry_with


@pytest.fixture(scope="module")
def desk(sqlite_template, tmp_path_factory, openid):
    """Run a registry that two providers sign people in to."""
    providers = openid.open(label="Acme", groups=GROUPS), openid.open("other", label="Other & Sons")
    with registry_with(sqlite_template, tmp_path_factory.mktemp("desk"), providers) as server:
        openid.serves(server.url, names=("acme", "other"))
        openid.person("b-1", "anna", groups=["ml-engineers"])
        let_group(server, "engineers", "promoter")
        yield server


@pytest.fixture(scope="module")
def browser():
    with chromium.started() as browser:
        yield browser


@pytest.fixture
def tab(desk, browser):
    tab = chromium.Tab(browser, desk, "")
    yield tab
    tab.close()


def test_somebody_signs_in_and_out(desk, tab):
    page = tab.go("/ui/deltas")
    told = tab.complaints()
    page.click("text=Sign in with Acme")
    page.wait_for_selector("text=Who are you?")
    page.click("text=b-1")
    page.wait_for_url("**/ui/deltas")
    who = page.inner_text(".who")
    page.goto(f"{desk.url}/ui/sessions")
    roles = page.inner_text(".kv")
    cookies = [each for each in tab.context.cookies() if each["name"].startswith("deltareg")]
    page.click("text=Log out here")
    page.wait_for_selector("text=You are logged out here")

    assert told == []
    assert "anna" in who
    assert "promoter" in roles
    assert all(each["httpOnly"] and each["sameSite"] == "Lax" for each in cookies)
    assert tab.complaints() == []


@pytest.mark.soak
def test_a_command_line_is_signed_in_from_another_machine(desk, tab):
    with httpx.Client(base_url=f"{desk.url}/api/v1") as machine:
        asked = machine.post("/sign-in/devices", json={"machine": "gpu-box"}).json()
        page = tab.go("/ui/device")
        empty = tab.complaints()
        page.fill("#code", asked["code"].lower())
        page.click("text=Go on")
        page.wait_for_selector("text=Is this you?")
        shown, told = page.inner_text("main"), tab.complaints()
        page.click("text=It is me: sign in with Acme")
        page.wait_for_selector("text=Who are you?")
        page.click("text=b-1")
        page.wait_for_selector("text=gpu-box is signed in")
        arrived = tab.complaints()
        token = machine.post("/sign-in/devices:fetch", json={"secret": asked["secret"]}).json()["token"]

    assert "gpu-box" in shown
    assert (empty, told, arrived) == ([], [], [])
    assert desk.http(token).get("/whoami").json()["principal"] == "anna"


@pytest.mark.soak
def test_it_works_without_scripts(desk, browser):
    tab = chromium.Tab(browser, desk, "", scripts=False)
    page = tab.go("/ui/login")
    page.click("text=Sign in with Other & Sons")
    page.wait_for_selector("text=Who are you?")
    page.click("text=b-1")
    page.wait_for_selector(".who")
    who = page.inner_text(".who")
    tab.close()

    assert "anna" in who
