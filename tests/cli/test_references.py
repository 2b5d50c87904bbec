"""Every reference that an output prints is taken by every command that takes one."""

import click
import pytest

from deltareg_cli.frame import cli
from tests.cli.steps import DELTAS, push

# What a line says beside the reference. Each ends well, or by what the version is.
LINES = {
    "attest export": ("attest", "export", "REF", "--to", "FOLDER"),
    "attest ls": ("attest", "ls", "REF"),
    "card show": ("card", "show", "REF"),
    "card write": ("card", "write", "REF"),
    "channel policy explain": ("channel", "policy", "explain", "REF", "--channel", "dev"),
    "deprecate": ("deprecate", "REF", "-m", "old"),
    "diff": ("diff", "REF", "REF"),
    "edit": ("edit", "REF", "-m", "said"),
    "export": ("export", "REF", "--to", "FOLDER"),
    "flatten": ("flatten", "REF"),
    "gate check": ("gate", "check", "REF", "--channel", "dev"),
    "golden show": ("golden", "show", "REF"),
    "label add": ("label", "add", "REF", "a=b"),
    "label rm": ("label", "rm", "REF", "a"),
    "lineage": ("lineage", "REF"),
    "lock": ("lock", "REF", "--to", "FOLDER"),
    "merge": ("merge", "REF=0.5", "me/chat:v1=0.5", "--plan"),
    "promote": ("promote", "REF", "--channel", "dev", "--dry-run"),
    "prove": ("prove", "REF"),
    "pull": ("pull", "REF", "--to", "FOLDER"),
    "push": ("push", "FOLDER", "me/chat", "--base", "tinyllama", "--parent", "REF"),
    "restore": ("restore", "REF"),
    "revoke": ("revoke", "REF", "-m", "no", "--dry-run"),
    "rm": ("rm", "REF", "--dry-run"),
    "show": ("show", "REF"),
    "signature export": ("signature", "export", "REF", "--to", "FOLDER"),
    "signature ls": ("signature", "ls", "REF"),
    "stats storage": ("stats", "storage", "REF"),
    "storage history": ("storage", "history", "REF"),
    "unrevoke": ("unrevoke", "REF", "-m", "well"),
    "verdict ls": ("verdict", "ls", "REF"),
    "verify": ("verify", "REF"),
}
ELSEWHERE = {
    "access explain": "takes resources, no versions",
    "trust add": "its --ref is a branch of a repository",
    "ask": "needs a model",
    "attest add": "needs a statement and a key",
    "attest withdraw": "needs an evaluation",
    "attest verify": "needs a key",
    "cache pin": "takes digests of the cache",
    "cache rm": "takes digests of the cache",
    "cache unpin": "takes digests of the cache",
    "events ls": "takes lines",
    "events tail": "takes lines",
    "fleet drift": "takes channels",
    "fleet ls": "takes channels",
    "import hf-folder": "as push",
    "import mlflow": "as push",
    "import oci": "as push",
    "materialize": "needs the base's folder",
    "open": "starts a browser",
    "probe": "needs a model",
    "retention end": "takes lines",
    "retention set": "takes lines",
    "retention show": "takes lines",
    "signature add": "needs a key",
    "storage revert": "needs a former form",
    "verdict export": "needs a signed verdict",
}
NAMES = {"ref", "refs", "a", "b", "parents", "of"}
NOT_UNDERSTOOD = ("not a reference", "not a digest", "not a version", "not NAMESPACE", "name one version", "no version")


def commands(node, path=()):
    if not isinstance(node, click.Group):
        yield " ".join(path), node
        return
    ctx = click.Context(node)
    for name in node.list_commands(ctx):
        yield from commands(node.get_command(ctx, name), (*path, name))


def test_every_command_that_takes_a_reference_is_here():
    taking = {name for name, command in commands(cli) if NAMES & {param.name for param in command.params}}

    assert taking == {*LINES, *ELSEWHERE}


@pytest.fixture
def forms(user):
    """Push a version; gives the references that outputs print of it."""
    push(user, "lora", "--semver", "1.4.0", "--no-golden")
    digest = user("show", "me/chat:v1", "--json").json["digest"]
    return [f"me/chat@{digest[:19]}", digest[:19], digest, "me/chat:1.4.0", f"deltareg://me/chat@{digest}"]


@pytest.mark.slow
def test_every_command_takes_every_reference(user, forms, tmp_path):
    wrong = []
    for number, (name, words) in enumerate(LINES.items()):
        for form in forms[:2] if number else forms:
            folder = DELTAS / "lora" if name == "push" else tmp_path / f"{number}-{forms.index(form)}"
            line = [word.replace("REF", form).replace("FOLDER", str(folder)) for word in words]
            ended = user(*line)
            if any(words in ended.err for words in NOT_UNDERSTOOD) or ended.status == 1:
                wrong.append((line, ended.status, ended.err))

    assert not wrong, "\n".join(map(str, wrong))


def test_a_digest_of_several_versions_names_them(user, forms):
    push(user, "lora_v2", "--no-golden")
    user("push", DELTAS / "lora", "me/other", "--base", "tinyllama", "--no-golden")

    ended = user("show", forms[1])

    assert ended.status == 2
    assert "me/chat:v1, me/other:v1" in ended.err
    assert user("show", forms[0]).status == 0, "within its line it is one"
    assert user("show", "sha256:000000").status == 3


def test_a_base_has_a_lineage(user, forms):
    ended = user("lineage", "base:tinyllama", "--json")

    assert ended.json["ref"] == "base:tinyllama"
    assert [edge["child"] for edge in ended.json["down"]] == ["me/chat:v1"]
    assert user("lineage", "base:absent").status == 3
