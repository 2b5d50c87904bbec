"""`make demo`: the whole story on real input, with every command shown as a user would type it.

The base is the real all-MiniLM-L6-v2; the deltas are trained while you watch. A registry and a
worker run on this machine for as long as the demo does, in a folder of their own that is removed at
the end (`--keep` leaves it). Nothing outside that folder is touched and nothing is downloaded.
"""

import argparse
import filecmp
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from safetensors.numpy import load_file

from deltareg.host.worker_process import worker_environ
from tests.e2e import train

REPOSITORY = Path(__file__).parents[2]
DELTAREG = Path(sys.executable).with_name("deltareg")
START_S = 60
SERVED_S = 30
LONG_S = 180  # a machine that takes longer for the first chapters is busy
_BOLD, _DIM, _GREEN, _RED, _OFF = "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m"


def main() -> int:
    """Play the story and say at the end whether everything went as told."""
    arguments = argparse.ArgumentParser(description="Play the Delta Registry story.")
    arguments.add_argument("--keep", action="store_true", help="leave the folder behind")
    arguments.add_argument("--all", action="store_true", help="play every chapter, however long it takes")
    options = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="deltareg-demo-"))
    started = time.monotonic()
    story = Story(folder)
    try:
        with registry(folder, story):
            play(story, plays_all=options.all)
    except Unexpected as error:
        story.say(f"\n{story.colour(_RED)}The demo stopped: {error}{story.colour(_OFF)}")
        story.say(f"Everything is left in {folder}")
        return 1
    story.say(
        f"\nAll {story.steps} commands did what the story says, in "
        f"{time.monotonic() - started:.0f} s. Now your own: deltareg up"
    )
    if options.keep:
        story.say(f"Everything is left in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


class Unexpected(Exception):
    """A command did not do what the story says."""


@dataclass(slots=True)
class Story:
    """Tells the story and runs its commands.

    Attributes:
        folder: Everything the demo writes.
        environ: The commands' environment: a home of their own.
        steps: Commands run so far.
    """

    folder: Path
    environ: dict[str, str] = field(default_factory=dict[str, str])
    steps: int = 0

    def __post_init__(self) -> None:
        """Give the commands a home of their own."""
        home = {f"XDG_{name}_HOME": str(self.folder / name.lower()) for name in _XDG}
        kept = {k: v for k, v in worker_environ().items() if not k.startswith("DELTAREG_")}
        # A slow machine would show its progress between the lines of the story.
        shown = {"DELTAREG_NO_PROGRESS": "1", "COLUMNS": "100"}
        self.environ = {**kept, **home, **shown}

    def colour(self, code: str) -> str:
        """Give a colour where there is a terminal to show it."""
        return code if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ""

    def say(self, text: str = "") -> None:
        """Say a line."""
        print(text, flush=True)

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self.say(f"\n{self.colour(_BOLD)}{title}{self.colour(_OFF)}")

    def quietly(self, *words: str) -> str:
        """Run a command for its result alone and show nothing of it."""
        command = [str(DELTAREG), *words]
        done = subprocess.run(command, env=self.environ, cwd=self.folder, text=True, check=True, capture_output=True)
        return done.stdout

    def run(self, *words: object, status: int = 0, lines: int = 40) -> None:
        """Run a command as a user would and show it with its output.

        Args:
            words: The command after `deltareg`.
            status: The exit status that the story expects.
            lines: How many lines of output to show.

        Raises:
            Unexpected: It ended with another status.
        """
        arguments = [str(word) for word in words]
        shown = " ".join(shlex.quote(word) for word in arguments)
        self.say(f"{self.colour(_GREEN)}$ deltareg {shown}{self.colour(_OFF)}")
        done = subprocess.run(
            [DELTAREG, *arguments],
            env=self.environ,
            cwd=self.folder,
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.steps += 1
        # Notes on the run's progress are for people who wait; here they only push results down.
        output = [x for x in done.stdout.rstrip().splitlines() if not x.startswith("run ")]
        for line in output[:lines]:
            self.say(f"  {line.replace(str(self.folder), '.')}")
        if done.returncode != status:
            raise Unexpected(f"exit status {done.returncode}, the story says {status}")
        if status:
            self.say(f"{self.colour(_DIM)}  (exit status {status}){self.colour(_OFF)}")

    def tell_lie(self, *words: str) -> None:
        """Do what no command does: push zeros in the place of a delta."""
        module = "tests.e2e.lie"
        self.say(f"{self.colour(_GREEN)}$ python -m {module} {shlex.join(words)}{self.colour(_OFF)}")
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=self.folder,
            text=True,
            check=True,
            env={**self.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
        )
        self.say(f"  {done.stdout.strip()}")

    @contextmanager
    def background(self, *words: str) -> Iterator[None]:
        """Run a command in the background while the block lasts."""
        self.say(f"{self.colour(_GREEN)}$ deltareg {shlex.join(words)} &{self.colour(_OFF)}")
        with (self.folder / f"{words[0]}.log").open("wb") as log:
            running = subprocess.Popen(
                [DELTAREG, *words],
                env=self.environ,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(START_S)
            except subprocess.TimeoutExpired:
                running.kill()


_XDG = ("CONFIG", "CACHE", "DATA", "STATE")


@contextmanager
def registry(folder: Path, story: Story, *, data: str = "registry") -> Iterator[int]:
    """Run `deltareg up` while the block lasts, its data in a folder below; gives its process id."""
    story.chapter("A registry on this machine: API, worker, SQLite, local disk")
    story.say(f"{story.colour(_GREEN)}$ deltareg up &{story.colour(_OFF)}")
    log = folder / "up.log"
    with log.open("wb") as out:
        up = subprocess.Popen(
            [DELTAREG, "up", "--data-dir", folder / data, "--port", "0"],
            env=story.environ,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        story.environ["DELTAREG_SERVER"] = _address(log, up)
        for line in log.read_text().splitlines()[:4]:
            story.say(f"  {line.replace(str(folder), '.')}")
        yield up.pid
    finally:
        up.send_signal(signal.SIGINT)
        try:
            up.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(up.pid, signal.SIGKILL)


def _address(log: Path, up: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and up.poll() is None:
        text = log.read_text()
        if "Press Ctrl-C" in text:
            return text.split("listens on ")[1].split()[0]
        time.sleep(0.1)
    raise Unexpected(f"the registry did not start:\n{log.read_text()}")


def play(story: Story, *, plays_all: bool) -> None:
    """Tell the story; on a busy machine without the chapters that it does not need."""
    started = time.monotonic()
    _play_first(story)
    for title, chapter in (
        ("a lie under true digests", partial(_lie, story)),
        ("a full fine-tune", partial(_full, story)),
    ):
        if plays_all or time.monotonic() - started < LONG_S:
            chapter()
        else:
            story.say(f"\nThis machine is busy, so one chapter is left out: {title}. --all plays it.")
    _costs(story)


def _play_first(story: Story) -> None:
    """Tell what the story is about: two versions, a gate, a host that follows, a rollback."""
    folder = story.folder
    story.chapter("The base: all-MiniLM-L6-v2, known from now on by what its tensors are")
    shutil.copytree(train.BASE, folder / "minilm")
    story.run("base", "push", "minilm", "minilm")

    story.chapter("A LoRA, really trained: function names find their summaries")
    first = train.train_lora(folder / "lora", on_step=_bar)
    _tell(story, first)
    story.run("lint", "lora", "--base", "minilm", lines=12)
    story.run("push", "lora", "team/names", "--base", "minilm", "-m", "first try")
    story.run("promote", "team/names:v1", "--channel", "prod", status=9)
    story.say("The gate says what is missing: nobody has checked it yet.")
    story.run("verify", "team/names:v1", "--wait")
    story.run("promote", "team/names:v1", "--channel", "prod", "-m", "first release")

    story.chapter("A second version, compared and promoted")
    second = train.continue_lora(folder / "lora", folder / "lora2", on_step=_bar)
    _tell(story, second)
    story.run("push", "lora2", "team/names", "--base", "minilm", "--parent", "team/names:v1")
    story.run("diff", "team/names:v1", "team/names:v2", "--top", "4")
    story.run("verify", "team/names:v2", "--wait", lines=4)
    story.run("promote", "team/names:v2", "--channel", "prod", "-m", "trained further")

    story.chapter("What must not pass: a LoRA that does nothing, and one of another base")
    train.plant_noop(folder / "lora", folder / "noop")
    story.run("push", "noop", "team/noop", "--base", "minilm", lines=6)
    story.run("verify", "team/noop", "--wait", status=8)
    story.run("promote", "team/noop:v1", "--channel", "prod", status=8)
    train.train_other_base(folder / "other-base", on_step=_bar)
    train.train_other_base_lora(folder / "other", folder / "other-base", on_step=_bar)
    story.run("push", "other", "team/names", "--base", "minilm", status=2, lines=8)

    story.chapter("A serving host follows prod")
    with story.background("agent", "run", "--channel", "team/names@prod", "--dir", "host"):
        _wait_for_host(story, "v2")

        story.chapter("A rollback: prod goes back, the host follows, the next CI run cannot undo it")
        story.run("rollback", "team/names", "--channel", "prod", "-m", why_back(first.after, second.after))
        _wait_for_host(story, "v1")
        story.run("channel", "show", "team/names", "prod")
        story.run("promote", "team/names:v2", "--channel", "prod", status=13)
        story.run("channel", "history", "team/names", "prod")

    story.chapter("What prod serves, byte for byte")
    story.run("pull", "team/names@prod", "--to", "served")
    _same_files(story, folder / "lora", folder / "served")


def why_back(first: train.Score, second: train.Score) -> str:
    """Say why prod goes back, as it was measured: the second version is worse, or this is a drill."""
    found = f"v2 finds {second.accuracy:.0%} of the summaries, v1 {first.accuracy:.0%}"
    return found if second.accuracy < first.accuracy else f"a drill: {found}"


def _full(story: Story) -> None:
    """Tell of a full fine-tune, which comes back bit for bit."""
    folder = story.folder
    story.chapter("A full fine-tune: stored as what changed, rebuilt bit for bit")
    _tell(story, train.train_full(folder / "full", on_step=_bar))
    story.run("push", "full", "team/full", "--base", "minilm")
    story.run("verify", "team/full", "--wait", lines=4)
    story.run("pull", "team/full:v1", "--to", "full-pulled")
    _same_files(story, folder / "full", folder / "full-pulled")
    story.run("materialize", "team/full:v1", "--out", "full-model")
    _same_tensors(story, folder / "full", folder / "full-model")


def _lie(story: Story) -> None:
    """Tell of somebody who pushes what no honest client would, and of who mends it."""
    story.chapter("A lie: zeros under the digests of a true delta")
    story.tell_lie("lora2", "eve/names", "minilm")
    story.run("prove", "eve/names:v1", "--wait", status=6, lines=5)
    story.run("pull", "eve/names:v1", "--to", "never", status=6)
    story.say("Nobody gets it. Whoever has the true bytes pushes them: same version, now proven.")
    story.run("push", "lora2", "eve/names", "--base", "minilm", lines=2)
    story.run("prove", "eve/names:v1", "--wait", lines=2)


def _wait_for_host(story: Story, version: str) -> None:
    """Wait until the serving host has the version, and say how long it took.

    Raises:
        Unexpected: It takes longer than promised.
    """
    current, started = story.folder / "host" / "current", time.monotonic()
    while not (current.exists() and f"--{version}-" in current.readlink().name):
        if time.monotonic() - started > SERVED_S:
            raise Unexpected(f"the host does not serve {version} after {SERVED_S} s")
        time.sleep(0.01)
    took = time.monotonic() - started
    story.say(f"  host/current -> {current.readlink()}  (after {took:.1f} s)")


def _tell(story: Story, trained: train.Trained) -> None:
    if sys.stdout.isatty():
        print("\r" + " " * 60, end="\r")
    for line in trained.lines():
        story.say(f"  {line}")


def _bar(step: int, total: int, loss: float) -> None:
    if sys.stdout.isatty():
        print(f"\r  training: step {step} of {total}, loss {loss:.3f}  ", end="", flush=True)


def _same_files(story: Story, original: Path, pulled: Path) -> None:
    files = [path for path in original.rglob("*") if path.is_file()]
    for path in files:
        if not filecmp.cmp(path, pulled / path.relative_to(original), shallow=False):
            raise Unexpected(f"{path.name} came back with other bytes")
    size = sum(path.stat().st_size for path in files)
    story.say(f"  {len(files)} files, {size / 1e6:.1f} MB: every byte as it was trained.")
    recorded = sorted({path.name for path in pulled.iterdir()} - {path.name for path in original.iterdir()})
    story.say(f"  beside them {', '.join(recorded)}, which the push recorded." if recorded else "")


def _same_tensors(story: Story, original: Path, model: Path) -> None:
    trained = load_file(original / "model.safetensors")
    built = load_file(model / "model.safetensors")
    for name, tensor in trained.items():
        if built[name].tobytes() != tensor.tobytes():
            raise Unexpected(f"{name} was rebuilt with other bits")
    story.say(f"  {len(trained)} trained tensors: every bit as it was trained.")


def _costs(story: Story) -> None:
    story.chapter("What it costs")
    story.run("ls")
    lines = json.loads(story.quietly("ls", "team", "--json"))["items"]
    versions = [
        version
        for line in (item["ref"] for item in lines)
        for version in json.loads(story.quietly("ls", line, "--json"))["items"]
    ]
    logical = sum(version["logical_bytes"] for version in versions)
    stored = sum(version["stored_bytes"] for version in versions)
    story.say(
        f"  {len(versions)} versions are {logical / 1e6:.1f} MB as trained and "
        f"{stored / 1e6:.1f} MB as stored: {1 - stored / logical:.0%} saved."
    )


if __name__ == "__main__":
    sys.exit(main())
