"""Deprecated versions and lines: nothing is refused, everybody who takes one reads what to use instead."""

import pytest

from deltareg.errors import Conflict, Forbidden, InvalidInput, NotFound
from tests.cli.steps import DELTAS, done, push
from tests.pages.conftest import browser

V1, V2 = "team/lora:v1", "team/lora:v2"


@pytest.fixture
def two(registry_server):
    """Push two versions of a line."""
    return registry_server.line("lora", "lora_v2")


def test_whoever_takes_a_deprecated_version_is_told_the_successor(two, tmp_path):
    said = two.versions.deprecate(V1, reason="learned names", successor=V2).deprecation

    assert (said.actor, said.reason, said.successor) == ("maker", "learned names", V2)
    for version in (two.show(V1), two.versions.list("team/lora").items[1], two.versions.show("team/lora@prod~1")):
        assert version.deprecation == said
    assert two.pull(V1, tmp_path / "v1").deprecation == said
    assert two.folders.list_outdated(tmp_path / "v1").folders[0].deprecation == said
    assert two.show(V2).deprecation is None
    assert two.channels.promote(V1, "dev").version == 1, "it is a warning, and no refusal"
    assert two.versions.deprecate(V1, reason="").deprecation is None
    assert two.show(V1).deprecation is None
    assert [row.action for row in two.audit.list(subject=V1).items][:2] == ["version.deprecate"] * 2


def test_a_deprecated_line_is_all_its_versions_and_those_to_come(two):
    two.versions.push(DELTAS / "lora", "team/new", base="tinyllama", golden=False)

    two.versions.deprecate("team/lora", reason="retrained", successor="team/new")

    assert {version.deprecation.successor for version in two.versions.list("team/lora").items} == {"team/new"}
    assert two.lines.list().items[0].newest.deprecation.reason == "retrained"
    with pytest.raises(Conflict, match="team/lora:v1 is deprecated itself"):
        two.versions.deprecate("team/new", reason="x", successor=V1)


def test_what_cannot_be_a_successor_is_refused(two, registry_server):
    reader = registry_server.client(("read",), principal="rita")

    with pytest.raises(InvalidInput, match="its own successor"):
        two.versions.deprecate(V1, reason="x", successor=V1)
    with pytest.raises(NotFound):
        two.versions.deprecate(V1, reason="x", successor="team/absent")
    with pytest.raises(InvalidInput, match="without a reason"):
        two.versions.deprecate(V1, reason="", successor=V2)
    with pytest.raises(Forbidden):
        reader.versions.deprecate(V1, reason="x")


def test_the_command_line_says_it_in_one_line(user, tmp_path):
    push(user, "lora", "--no-golden")
    push(user, "lora_v2", "--no-golden")
    done(user, "deprecate", "me/chat:v1", "--successor", "me/chat:v2", "-m", "learned names")

    pulled = user("pull", "me/chat:v1", "--to", tmp_path / "v1")

    [line] = [line for line in pulled.err.splitlines() if "deprecated" in line]
    assert line.startswith("warning: me/chat:v1 is deprecated by ")
    assert line.endswith(": learned names; use me/chat:v2")
    assert "use me/chat:v2" in user("show", "me/chat:v1").out
    assert "use me/chat:v2" in user("outdated", tmp_path / "v1").out
    assert "deprecated" in user("ls", "me/chat").out
    assert user("deprecate", "me/chat:v1").status == 2
    assert "is not deprecated" in user("deprecate", "me/chat:v1", "--undo").out


def test_pages_show_it(two, registry_server):
    two.versions.push(DELTAS / "lora", "team/new", base="tinyllama", golden=False)
    two.versions.deprecate("team/lora", reason="<retrained>", successor="team/new")
    two.versions.deprecate("team/new:v1", reason="too", successor="")

    with browser(registry_server, registry_server.admin_token) as pages:
        version, other, line = (
            pages.get(f"/ui/deltas/{path}").text for path in ("team/lora/v1", "team/new/v1", "team/lora")
        )

    assert "Deprecated by maker" in version
    assert "&lt;retrained&gt;" in version
    assert '<a href="/ui/find?q=team/new">team/new</a>' in version
    assert "Deprecated by maker" in other
    assert "deprecated" in line
