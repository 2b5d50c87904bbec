"""Steps that tests of the command line share: a base and versions in a fresh registry."""

from tests.conftest import REPOSITORY

SAMPLES = REPOSITORY / "tests" / "samples"
BASES, DELTAS, BAD = SAMPLES / "bases", SAMPLES / "deltas" / "tinyllama", SAMPLES / "bad"


def push_base(user, name="tinyllama"):
    """Keep a base in the registry."""
    ended = user("base", "push", BASES / name, name, "--json")
    assert ended.status == 0, ended.err
    return ended.json


def push(user, delta="lora", *options):
    """Push a delta of tinyllama to the line me/chat; gives its reference."""
    push_base(user)
    ended = user("push", DELTAS / delta, "me/chat", "--base", "tinyllama", "--json", *options)
    assert ended.status == 0, ended.err
    return ended.json["ref"]
