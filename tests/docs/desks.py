"""What lies on a reader's desk: a registry, a folder, and what a page presumes to be there."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from deltareg.client import Client, ClientConfig
from deltareg.wire import LeaseRequest, TokenCreate
from tests.docs.terminal import Terminal
from tests.e2e.demo import Story, registry
from tests.fixtures.registries import SAMPLES, SCOPES, RunningRegistry, report
from tests.proving import prove_all

_ADAPTERS = ("lora", "lora_v2", "lora_qv", "lora_rslora", "lora_patterns", "lora_checkpoint")


@dataclass
class Desk:
    """What a page is run on.

    Attributes:
        folder: The reader's folder.
        client: The registry, as the reader may use it.
        terminal: Where the page's commands are typed.
        tokens: Tokens of further people, by name.
        stack: What ends with the page.
    """

    folder: Path
    client: Client
    terminal: Terminal
    tokens: dict[str, str] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def lay(self, name: str, sample: str) -> Path:
        """Copy a sample into the reader's folder, `deltas/tinyllama/lora` as `adapter`."""
        return Path(shutil.copytree(SAMPLES / sample, self.folder / name))

    def lay_adapters(self, *names: str) -> None:
        """Lay adapters of tinyllama, each another one."""
        for name, sample in zip(names, _ADAPTERS, strict=False):
            self.lay(name, f"deltas/tinyllama/{sample}")

    def base(self, name: str, folder: str | None = None, *, sample: str = "tinyllama", **options: object) -> None:
        """Store a base, and lay its folder where the page has one."""
        path = self.lay(folder, f"bases/{sample}") if folder else SAMPLES / "bases" / sample
        self.client.bases.push(path, name, **options)  # type: ignore[arg-type]

    def versions(self, line: str, count: int, *, base: str, promoted: int = 0) -> None:
        """Push versions of a line; each passes, and the first `promoted` of them go to `prod`."""
        for number, sample in enumerate(_ADAPTERS[:count], start=1):
            pushed = self.client.push(SAMPLES / "deltas" / "tinyllama" / sample, line, base=base)
            if promoted:
                self.client.runs.wait(self.client.verify(pushed.version.ref), timeout_s=120)
            if number <= promoted:
                self.client.runs.wait(self.client.runs.prove(pushed.version.ref), timeout_s=120)
                self.client.promote(pushed.version.ref, "prod", reason="first release" if number == 1 else "better")

    def person(self, name: str, *scopes: str, kind: str = "pat") -> None:
        """Let somebody else have a token, with the roles for it."""
        request = TokenCreate.model_validate(
            {"principal": name, "scopes": scopes, "kind": kind, "everywhere": True, "expires_in_s": 3600}
        )
        self.tokens[name] = self.client.tokens.create(request).token


@contextmanager
def scripted_desk(server: RunningRegistry, folder: Path, *, is_judged: bool) -> Iterator[Desk]:
    """Give a desk whose registry runs in this process; a thread lets every verification pass."""
    token = server.token(*SCOPES, principal="ana")
    judges = judging(server) if is_judged else nullcontext()
    with judges, _desk(folder, server.url, token, {"DELTAREG_GOLDEN": "never"}) as desk:
        yield desk


@contextmanager
def real_desk(folder: Path) -> Iterator[Desk]:
    """Give a desk whose registry is that of `deltareg up`, with its worker."""
    story = Story(folder)
    with registry(folder, story, data="desk/deltareg-data"):
        token = (folder / "desk" / "deltareg-data" / "admin-token").read_text().strip()
        with _desk(folder, story.environ["DELTAREG_SERVER"], token, {}) as desk:
            desk.terminal.is_up = True
            yield desk


@contextmanager
def _desk(folder: Path, url: str, token: str, settings: dict[str, str]) -> Iterator[Desk]:
    home, place = folder / "home", folder / "desk"
    home.mkdir()
    place.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH", "TMPDIR") if name in os.environ}
    homes = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "CACHE", "DATA", "STATE")}
    quiet = {"NO_COLOR": "1", "HF_HUB_OFFLINE": "1", "DELTAREG_NO_PROGRESS": "1", "COLUMNS": "80"}
    here = {"HOME": str(home), "BROWSER": "true"}
    environ = {**kept, **homes, **quiet, **here, **settings, "DELTAREG_SERVER": url, "DELTAREG_TOKEN": token}
    config = ClientConfig(server=url, token=token, cache_dir=home / "cache" / "deltareg")
    with Client(config) as client:
        desk = Desk(place, client, Terminal(place, environ, url))
        desk.terminal.tokens = desk.tokens
        try:
            yield desk
        finally:
            desk.terminal.end()
            desk.stack.close()


@contextmanager
def judging(server: RunningRegistry) -> Iterator[None]:
    """Let every verification pass in a thread, as a worker would that does no more."""
    worker = server.client(("read", "verify"), principal="worker", kind="wrk")
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            grant = worker.lease(LeaseRequest(worker="scripted", wait_s=0.2))
            if grant is not None:
                worker.complete_run(grant.run, report(grant))
            prove_all(worker)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(30)
