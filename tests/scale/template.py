"""A small life of a registry, lived by the product itself: what copies are made of.

Everything is done over the API: bases and versions are pushed and proven, judged by a worker that
is played, promoted and rolled back, deleted and collected. What each step left in the database is
kept, step by step.
"""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from deltareg.service.access.server_keys import announce_server_key
from deltareg.service.telling.number import number_all
from deltareg.service.upkeep.collect import run as collect
from deltareg.signing.keys import SigningKey
from deltareg.suites.golden_file import GOLDEN_FILE, decode, encode
from deltareg.wire import AgentReport, LeaseRequest, Observed
from tests.benchmarks.llama_files import Shape, write_base
from tests.fixtures.registries import RunningRegistry, report
from tests.proving import prove_all, prover_of
from tests.scale.placeholders import AGENT, BASE, LINE, PERSON, SPACE, STEP
from tests.scale.snapshot import Step, left_between, look_at
from tests.signers import key_of

CHANNELS = ("dev", "staging", "prod")
_GOLDEN = Path(__file__).parents[1] / "golden" / "outputs" / "2.json"
_LINE = f"{SPACE}/{LINE}"
_SERVER = "the server"


@dataclass(frozen=True)
class Template:
    """What each step left.

    Attributes:
        steps: By name.
        keys: The keys that signed, by keyid.
    """

    steps: Mapping[str, Step]
    keys: Mapping[str, SigningKey]


def server_key() -> SigningKey:
    """Return the key that the server of a filled registry signs with."""
    return key_of(_SERVER)


class TemplateLife:
    """Lives the steps and keeps what they leave."""

    def __init__(self, server: RunningRegistry, folder: Path, *, tensors: int):
        """Prepare people and files.

        Args:
            server: A registry that is empty.
            folder: Where to write what is pushed.
            tensors: How many tensors a version has.
        """
        self.steps: dict[str, Step] = {}
        self._server, self._folder, self._tensors = server, folder, tensors
        self._shape = Shape(-(-tensors // 14), hidden=64, inner=64, heads=4, key_heads=4, vocabulary=128)
        announce_server_key(server.registry)
        self._author = server.client(("read", "push", "promote", "admin"), principal="author")
        for name in ("worker", "prover"):
            self._author.keys.enrol(name, str(key_of(name).public), host="here")
        self._worker = server.client(("read", "verify"), principal="worker", kind="wrk")
        self._prover = prover_of(server)
        self._serving = server.client(("read", "serve"), principal="host")

    def live(self, *, is_brief: bool = False) -> Template:
        """Live all of it, or with `is_brief` no more than versions that pass and are promoted."""
        self._begin()
        if not is_brief:
            self._go_on()
        keys = [server_key(), key_of("worker"), key_of("prover")]
        return Template(self.steps, {key.keyid: key for key in keys})

    def _begin(self) -> None:
        author = self._author
        write_base(self._folder / "base", self._shape)
        self._warm_up()
        with self._step("base"):
            author.bases.push(self._folder / "base", BASE)
            prove_all(self._prover)
        with self._step("namespace"):
            author.namespaces.create(SPACE)
        with self._step("line"):
            first = self._push("first")
            for channel in CHANNELS:
                author.channels.create(_LINE, channel)
        with self._step("judged first"):
            self._judge(first)
        of_base = [name for name in self.steps["judged first"].rows if name.startswith("base_")]
        self.steps["base"] = self.steps["base"].joined(self.steps["judged first"], *of_base)
        for channel in CHANNELS:
            author.promote(first, channel)
        with self._step("passed"):
            ref = self._push("passed")
            self._judge(ref)
        for channel in CHANNELS:
            with self._step(f"promoted {channel}"):
                author.promote(ref, channel, reason=f"step {STEP}")

    def _go_on(self) -> None:
        author = self._author
        with self._step("rolled back"):
            author.rollback(_LINE, "prod", version=1, reason=f"step {STEP}")
            self._work_off()  # what a channel returns to is verified again
        with self._step("failed"):
            self._judge(self._push("failed"), verdict="fail")
        with self._step("golden"):
            self._judge(self._push("golden", has_golden=True))
        with self._step("deleted"):
            self._judge(gone := self._push("deleted"))
            author.versions.delete(gone)
            collect(self._server.registry.engine, self._server.registry.store, grace_s=0)
        with self._step("unjudged"):
            self._push("unjudged")
        self._judge(self._push("after"))
        self.steps["unjudged"] = self.steps["unjudged"].refreshed(look_at(self._server.registry.engine))
        with self._step("queued"):
            author.verify(f"{_LINE}:v2", again=True, labels={"gpu": "one-that-never-comes"})
        with self._step("person"):
            self._server.token("read", principal=PERSON)
        with self._step("member"):
            author.members.add(PERSON, "maintainer", namespace=SPACE)
        with self._step("agent"):
            self._report()

    def _warm_up(self) -> None:
        """Make a line beside: what is there once and for all, such as a suite's digest, is no version's own."""
        shape = Shape(1, hidden=32, inner=32, heads=4, key_heads=4, vocabulary=64)
        write_base(self._folder / "other-base", shape)
        write_lora(self._folder / "other", shape, tensors=2, seed=0)
        self._author.bases.push(self._folder / "other-base", "other")
        ref = self._author.push(self._folder / "other", "team/lora", base="other").version.ref
        prove_all(self._prover)
        self._judge(ref)
        for channel in CHANNELS:
            self._author.promote(ref, channel)

    @contextmanager
    def _step(self, name: str) -> Generator[None, None, None]:
        registry = self._server.registry
        before = look_at(registry.engine)
        yield
        number_all(registry)  # the server's own process does so in the background
        self.steps[name] = left_between(before, look_at(registry.engine))

    def _report(self) -> None:
        shown = self._author.show(f"{_LINE}:v1")
        observed = Observed(channel=f"{_LINE}@prod", revision=3, version=1, digest=shown.digest)
        body = AgentReport(engine="dir", every_s=30, serves=[observed])
        self._serving._api.send("PUT", f"/fleet/agents/{AGENT}", body=body)

    def _push(self, name: str, *, has_golden: bool = False) -> str:
        folder = self._folder / name
        write_lora(folder, self._shape, tensors=self._tensors, seed=len(self.steps))
        if has_golden:
            frozen = decode(_GOLDEN.read_bytes())
            root = str(self._author.bases.show(BASE).root)
            origin = replace(frozen.origin, how="in_training", weights={}, base=root, quantised="")
            (folder / GOLDEN_FILE).write_bytes(encode(replace(frozen, origin=origin)))
        pushed = self._author.push(folder, _LINE, base=BASE, message=f"step {STEP}", labels={"step": STEP})
        prove_all(self._prover)
        return pushed.version.ref

    def _judge(self, ref: str, *, verdict: str = "pass") -> None:
        run = self._author.verify(ref)
        self._work_off(verdict)
        assert self._author.runs.show(run.id).verdict is not None, f"{ref} has no verdict"

    def _work_off(self, verdict: str = "pass") -> None:
        while (grant := self._worker.lease(LeaseRequest(worker="scripted"))) is not None:
            self._worker.complete_run(grant.run, report(grant, verdict=verdict))


def write_lora(folder: Path, shape: Shape, *, tensors: int, seed: int, base: str = BASE) -> None:
    """Write an adapter of so many tensors, of rank 8 in float32."""
    folder.mkdir()
    draw = np.random.default_rng(seed)
    modules = dict(list(shape.linear().items())[: tensors // 2])
    made = {
        f"base_model.model.{name}.lora_{side}.weight": draw.normal(0, 0.02, size).astype(np.float32)
        for name, (rows, columns) in modules.items()
        for side, size in (("A", (8, columns)), ("B", (rows, 8)))
    }
    save_file(made, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 8,
        "lora_alpha": 16,
        "lora_dropout": 0.0,
        "bias": "none",
        "base_model_name_or_path": base,
        "target_modules": sorted({name.rpartition(".")[2] for name in modules}),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
