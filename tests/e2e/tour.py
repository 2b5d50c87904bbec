"""The README's tour: its commands are run, and what they print is what the README shows.

`python -m tests.e2e.tour --write` runs them against a registry of its own and writes their output
into the README; the test runs them again and compares after masking what differs each time.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
_SAMPLES = REPOSITORY / "tests" / "samples"
_START_S = 60
_BLOCK = re.compile(r"```tour\n(.*?)```", re.DOTALL)
_SIGNED = re.compile(r"(signed by +local-worker +)\S+( +key )\w+")
_LAPTOP = r"\1laptop-0f3c9a52d1e4\g<2>574ec3e07053"  # no machine of ours stands in the README
_MASKS = (
    (re.compile(r"\b(sha256|blake3):[0-9a-f]{12,64}"), r"\1:…"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\d+(\.\d+)? ?(B|[kMG]B)(/s)?\b"), "SIZE"),
    (re.compile(r"just now|\d+ (s|min) ago"), "WHEN"),
    (re.compile(r"\d+(\.\d+)? (ms|s|min)\b"), "TIME"),
    (re.compile(r"(torch|transformers|python|platform|deltareg)[ /][\w.+/ -]+"), r"\1 …"),
    (re.compile(r"sandbox  .*"), "sandbox …"),
    (re.compile(r"(signed by +[\w-]+) .*"), r"\1 …"),
    (re.compile(r"-?\d+\.\d+(e-?\d+)?|\d+e-?\d+"), "NUMBER"),
    (re.compile(r"threads \d+"), "threads N"),
    (re.compile(r"[ ─]{2,}"), "  "),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the tour and what it printed."""

    command: str
    output: str


def read_blocks(text: str) -> list[list[Step]]:
    """Read the tour's blocks from the README."""
    return [list(_steps(body)) for body in _BLOCK.findall(text)]


def run_step(command: str, *, environ: Mapping[str, str], folder: Path) -> str:
    """Run a command as in a terminal and give all that it prints.

    A push leaves golden outputs beside the delta, so the samples are those of a copy, as in the
    README.

    Args:
        command: As the README has it; `/tmp` stands for `folder`.
        environ: The environment, with the server's address.
        folder: Where the tour's own files go.
    """
    if not (folder / "samples").exists():
        shutil.copytree(_SAMPLES, folder / "samples")
    words = [word.replace("/tmp", str(folder)) for word in shlex.split(command)]
    program = Path(sys.executable).with_name(words[0])
    done = subprocess.run(
        [program, *words[1:]],
        env=environ,
        cwd=folder,
        text=True,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    lines = [line.rstrip() for line in done.stdout.rstrip().splitlines()]
    shown = [line for line in lines if not line.startswith("run ")]
    if done.returncode:
        shown.append(f"(exit status {done.returncode})")
    return "\n".join(shown).replace(str(folder), "/tmp")


class Pace:
    """Holds the worker back until the tour asks for a verdict.

    On a busy machine a verification can be over before the command after the push has started, and
    the gate would have nothing to refuse.
    """

    def __init__(self, up: int) -> None:
        """Take the process id of `deltareg up`, whose children the workers are."""
        self._up = up

    def before(self, command: str) -> None:
        """Stop the workers before a push that does not wait, and let them go on when one waits."""
        words = command.split()
        waits = "--wait" in words or words[1] == "verify"
        if waits or words[1] == "push":
            self._signal(signal.SIGCONT if waits else signal.SIGSTOP)

    def end(self) -> None:
        """Let the workers go, so that they can end."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        deadline = time.monotonic() + _START_S
        while not (workers := self._workers()):  # one that was just forked has no name yet
            assert time.monotonic() < deadline, "`deltareg up` started no worker"
            time.sleep(0.05)
        for worker in workers:
            os.kill(worker, number)

    def _workers(self) -> list[int]:
        threads = Path(f"/proc/{self._up}/task").iterdir()
        children = [int(c) for t in threads for c in (t / "children").read_text().split()]
        return [c for c in children if b"deltareg_verify" in _command_line(c)]


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def mask(text: str) -> str:
    """Mask what differs from run to run and from machine to machine."""
    for pattern, word in _MASKS:
        text = pattern.sub(word, text)
    return text


def write_tour(text: str, *, environ: Mapping[str, str], folder: Path, pace: Pace) -> str:
    """Run the whole tour and give the README with what it printed."""

    def rewrite(match: re.Match[str]) -> str:
        lines: list[str] = []
        for step in _steps(match[1]):
            pace.before(step.command)
            output = run_step(step.command, environ=environ, folder=folder)
            output = _SIGNED.sub(_LAPTOP, output)
            lines += [f"$ {step.command}", *output.splitlines(), ""]
        return "```tour\n" + "\n".join(lines[:-1]) + "\n```"

    return _BLOCK.sub(rewrite, text)


def _steps(body: str) -> Iterator[Step]:
    command, output = "", list[str]()
    for line in body.splitlines():
        if line.startswith("$ "):
            if command:
                yield Step(command, "\n".join(output).rstrip())
            command, output = line.removeprefix("$ "), []
        else:
            output.append(line)
    if command:
        yield Step(command, "\n".join(output).rstrip())


def main() -> None:
    """Write the tour into the README, or print it."""
    import tempfile

    from tests.e2e.demo import Story, registry

    with tempfile.TemporaryDirectory(prefix="deltareg-tour-") as name:
        folder = Path(name)
        story = Story(folder)
        with registry(folder, story) as up:
            pace = Pace(up)
            told = README.read_text()
            written = write_tour(told, environ=story.environ, folder=folder, pace=pace)
            pace.end()
    if "--write" in sys.argv:
        README.write_text(written)
    else:
        print(written)


if __name__ == "__main__":
    main()
