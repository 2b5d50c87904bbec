"""Steps that tests of the command line share: a base and versions in a fresh registry."""

from safetensors.numpy import load_file, save_file

from tests.conftest import REPOSITORY

SAMPLES = REPOSITORY / "tests" / "samples"
BASES, DELTAS, BAD = SAMPLES / "bases", SAMPLES / "deltas" / "tinyllama", SAMPLES / "bad"


def push_base(user, name="tinyllama"):
    """Keep a base in the registry."""
    return user.step(("base", name), lambda: done(user, "base", "push", BASES / name, name))


def push(user, delta="lora", *options):
    """Push a delta of tinyllama to the line me/chat; gives its reference."""
    push_base(user)
    words = ("push", DELTAS / delta, "me/chat", "--base", "tinyllama", *options)
    return user.step(words, lambda: done(user, *words))["ref"]


def done(user, *words):
    """Run a command line that goes well, and give its document."""
    ended = user(*words, "--json")
    assert ended.status == 0, ended.err
    return ended.json


def push_line(user, folder, versions):
    """Push so many versions of me/chat that differ in one tensor."""
    push_base(user)
    tensors = load_file(DELTAS / "lora" / "adapter_model.safetensors")
    name = min(tensors)
    for number in range(1, versions + 1):
        delta = folder / f"delta-{number}"
        delta.mkdir()
        for path in (DELTAS / "lora").iterdir():
            (delta / path.name).write_bytes(path.read_bytes())
        changed = {**tensors, name: tensors[name] * (1 + number / 100)}
        save_file(changed, delta / "adapter_model.safetensors", {"format": "pt"})
    user.step(("line", versions), lambda: push_folders(user, folder, versions))


def push_folders(user, folder, versions):
    for number in range(1, versions + 1):
        done(user, "push", folder / f"delta-{number}", "me/chat", "--base", "tinyllama")
