"""`python -m deltareg_verify pilot`: a user's data as a base takes it, and how versions differ.

A drafted suite needs to know how far healthy versions are apart on its samples, or its margins are
guesses. The registry's command line starts this as a process, with the versions of the line; their
measures beside the base, and each beside the one before it, come back as one JSON document.
"""

import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import click
import numpy as np

from deltareg.client.cache.cache import Cache
from deltareg.client.disk.weights_file import TensorSlot, write_header
from deltareg.client.folders.base_folder import open_base
from deltareg.errors import DeltaregError, InvalidInput
from deltareg.suites.catalogue import CATALOGUE
from deltareg.suites.drafting.answer_forms import OTHERS
from deltareg.suites.probe_set import Samples, read_samples
from deltareg.suites.suite import DEFAULT_SUITE, CheckSpec, ProbeSet, built_in
from deltareg_verify.engine.changes import MEASURES, EngineSide, Measure, MeasureChange, RowMeasure, perplexity
from deltareg_verify.engine.engine import DeltaEngine
from deltareg_verify.engine.measures.choices import choice_measure
from deltareg_verify.engine.measures.targets import target_perplexity
from deltareg_verify.engine.measures.word_order import find_understood
from deltareg_verify.judging.checks import all_checks
from deltareg_verify.messages.process_answer import answer
from deltareg_verify.messages.requests import ProcessRequest
from deltareg_verify.workbench.backtest import BacktestVersion
from deltareg_verify.workbench.faults.delta_files import MutableDelta, open_parts, write_parts
from deltareg_verify.workbench.trials import TrialDelta, Trials

Fields = Mapping[str, object]
_Z = 1.959963984540054
_SIBLINGS, _SIBLING_NOISE = 2, 0.1
_BLOCKS, _LEAST_BLOCK = 8, 10
_BASE, _GENERAL = "base", "general"
_PROBES = "samples"  # what a check is told that it looks at; they are given by hand
_CHOICES = "choices"
_MEASURES: Mapping[str, Measure] = {**MEASURES, "target_perplexity": target_perplexity}
_MOST_BY_CHECK = {"written_text": 60, _CHOICES: 50}  # each sample takes many forwards


@dataclass(frozen=True, slots=True)
class PilotRequest(ProcessRequest):
    """What is wanted.

    Attributes:
        base: The base's folder.
        cache: The client's cache, which knows the base's fingerprint.
        versions: The line's versions, oldest first; empty where it has none.
        out: The folder of probe files, both written and read.
        chats: Chats, each a list of who says what; empty for other tasks.
        images: Image files, one per sample; empty for other tasks.
        captions: The caption of each image; empty where images have classes.
        labels: The class of each image; empty where they have captions.
        sets: The measure and the file of each probe set: `{"in_domain": ["accuracy", "x.jsonl"]}`.
        parameters: The parameters of each set's check beside its defaults.
        most: How many samples are measured, or fewer where a check takes many forwards for each.
        seconds: When to stop measuring, whatever is left.
        device: `cpu`, `cuda:N` or `auto`.
        threads: Processor threads; 0 takes all that the process may use.
    """

    base: Path
    cache: Path
    out: Path
    versions: tuple[BacktestVersion, ...] = ()
    chats: Sequence[Sequence[tuple[str, str]]] = ()
    images: Sequence[str] = ()
    captions: Sequence[str] = ()
    labels: Sequence[int] = ()
    sets: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    parameters: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict[str, "Mapping[str, str | int]"])
    most: int = 200
    seconds: float = 120.0
    device: str = "auto"
    threads: int = 0


@click.command("pilot", hidden=True)
@click.argument("request", type=click.Path(path_type=Path))
def pilot(request: Path) -> None:
    """Prepare somebody's data for a base and measure a line's versions on it."""
    answer(lambda: run(PilotRequest.decode(request.read_bytes())))


def run(wanted: PilotRequest) -> Fields:
    """Prepare and measure; returns the document.

    Raises:
        InvalidInput: The base does not take such data.
        Inconclusive: The machine could not do it.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported, which reads it once
    from deltareg_verify.engine.torch_engine import TorchEngine, class_with_place, prepare_device, quieten

    quieten()
    document: dict[str, object] = {"has_template": _prepare(wanted), "understood": None}
    general = _read_set(wanted, _GENERAL) if _GENERAL in wanted.sets else None
    understood: Mapping[str, Sequence[int]] = {}
    if not wanted.versions and general is None:
        return {**document, "items": [], "is_cut": False, "notes": []}
    with ExitStack() as stack:
        base = stack.enter_context(open_base(wanted.base, Cache(wanted.cache)))
        suite = replace(built_in(DEFAULT_SUITE), sets={_PROBES: ProbeSet(_PROBES, "")})
        make = partial(TorchEngine, suite=suite, device=prepare_device(wanted.device, threads=wanted.threads))
        if general is not None:
            understood = find_understood(make(base, ()), general, seed=suite.seed) or {}
            document["understood"] = [*understood]
        trials = Trials(base, suite, wanted.out, make, class_with_place)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pilot-")))
        comparing = _Comparing(wanted, trials, scratch, stack, understood)
        items = list(comparing.go())
        return {**document, "items": items, "is_cut": comparing.is_cut, "notes": comparing.notes}


def _prepare(wanted: PilotRequest) -> bool | None:
    """Write the files whose form only the base knows; returns whether it has a chat template."""
    if wanted.chats:
        from deltareg_verify.engine.torch_engine.preparing import render_chats

        pairs = render_chats(wanted.base, wanted.chats)
        if pairs is not None:
            lines = (json.dumps({"text": text, "target": target}) for text, target in pairs)
            path = wanted.out / wanted.sets["in_domain"][1]
            path.write_text("".join(f"{line}\n" for line in lines))
        return pairs is not None
    if wanted.images:
        _write_images(wanted, wanted.out / wanted.sets["in_domain"][1])
    return None


def _write_images(wanted: PilotRequest, path: Path) -> None:
    from deltareg_verify.engine.torch_engine.preparing import read_images, token_rows

    arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {
        "pixel_values": read_images(wanted.base, wanted.images)
    }
    if wanted.labels:
        arrays["labels"] = np.array(wanted.labels, np.int64)
    else:
        arrays |= token_rows(wanted.base, wanted.captions)
    slots = [
        TensorSlot(name, "F32" if value.dtype == np.float32 else "I64", value.shape) for name, value in arrays.items()
    ]
    with path.open("wb") as file:
        file.write(write_header(slots, {}))
        file.writelines(np.ascontiguousarray(value).tobytes() for value in arrays.values())


@dataclass(slots=True)
class _Comparing:
    """Measures versions beside the base and beside each other, as far as time allows."""

    wanted: PilotRequest
    trials: Trials
    scratch: Path
    stack: ExitStack
    understood: Mapping[str, Sequence[int]] = field(default_factory=dict[str, Sequence[int]])
    is_cut: bool = False
    notes: list[str] = field(default_factory=list[str])

    def go(self) -> Iterator[Fields]:
        """Yield the measures, newest version first."""
        started = time.monotonic()
        samples = {name: self._samples(name) for name in self.wanted.sets if name != _GENERAL}
        groups = self._groups()
        there = list(self._there())
        for at in reversed(range(len(there))):
            if time.monotonic() - started > self.wanted.seconds and at < len(there) - 1:
                self.is_cut = True
                return
            before = [None] + ([there[at - 1]] if at else [])
            for name, probe_samples in samples.items():
                for other in before:
                    change = self._change(name, other, there[at], probe_samples)
                    if change is not None:
                        rival = _BASE if other is None else other.ref
                        yield {"set": name, "a": rival, "b": there[at].ref, **change}
            yield from self._changes_of_groups(there[at], groups)

    def _changes_of_groups(self, version: "_There", groups: Sequence[Samples]) -> Iterator[Fields]:
        """Yield what a version gains or loses of each general group that the base understands."""
        for group in groups:
            base, ours = EngineSide(version.engine, "base"), EngineSide(version.engine, "attached")
            change = perplexity(base, ours, group)
            scaled = None if change is None else _on_scale(change)
            if scaled is not None:
                yield {"set": _GENERAL, "a": _BASE, "b": version.ref, **scaled}

    def _groups(self) -> list[Samples]:
        """Read the general texts of each group that the base understands."""
        if not self.understood:
            return []
        general = _read_set(self.wanted, _GENERAL)
        return [general.select_rows(rows) for rows in self.understood.values()]

    def _there(self) -> Iterator["_There"]:
        """Yield the versions on the base; for a single version, seeded siblings as well."""
        opened: list[tuple[BacktestVersion, TrialDelta]] = []
        for one in self.wanted.versions:
            try:
                delta = self.stack.enter_context(self.trials.open_delta(one.delta, convention=one.convention))
            except DeltaregError as error:
                self.notes.append(f"{one.ref} is refused on this base: {error.message}")
                continue
            opened.append((one, delta))
        if len(opened) == 1:
            yield from self._siblings(*opened[0])
        for one, delta in opened:
            yield _There(one.ref, delta, self.trials.engine(delta, is_fixed=True))

    def _siblings(self, version: BacktestVersion, delta: TrialDelta) -> Iterator["_There"]:
        """Yield the version with a tenth of noise on it, about the difference of another seed."""
        base = self.trials.base.tensors
        whole = open_parts(delta.folder, delta.account, base)
        for number in range(_SIBLINGS):
            random = np.random.default_rng(number)
            parts = dict(whole.parts)
            for name, part in whole.proportional():
                noise = random.standard_normal(part.values.shape, dtype=np.float32)
                noise *= np.float32(np.sqrt(np.mean(part.change**2)) * _SIBLING_NOISE)
                parts[name] = part.with_change(part.change + noise)
            out = self.scratch / f"sibling-{number}"
            write_parts(MutableDelta(parts, whole.config, whole.config_file), delta.folder, out)
            opened = self.stack.enter_context(self.trials.open_delta(out, convention=version.convention))
            engine = self.trials.engine(opened, is_fixed=True)
            yield _There(f"{version.ref} with noise", opened, engine, is_sibling=True)

    def _samples(self, name: str) -> Samples:
        check, _ = self.wanted.sets[name]
        most = min(self.wanted.most, _MOST_BY_CHECK.get(check, self.wanted.most))
        return rows_of(_read_set(self.wanted, name), slice(most))

    def _change(self, name: str, before: "_There | None", after: "_There", samples: Samples) -> Fields | None:
        check = self.wanted.sets[name][0]
        measure = self._choices(name) if check == _CHOICES else _MEASURES.get(check)
        try:
            if measure is None:
                return self._by_blocks(name, before, after, samples)
            ours = EngineSide(after.engine, "attached")
            theirs = EngineSide(after.engine, "base") if before is None else EngineSide(before.engine, "attached")
            if isinstance(measure, RowMeasure):
                return _by_rows(measure, theirs, ours, samples, is_pair=before is not None and not before.is_sibling)
            change: MeasureChange | None = measure(theirs, ours, samples, seed=0)
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            raise InvalidInput(f"the network does not run on these samples: {error}") from error
        return None if change is None else _on_scale(change)

    def _choices(self, name: str) -> RowMeasure:
        which = str(self.wanted.parameters.get(name, {}).get("measure", CATALOGUE[_CHOICES].parameters["measure"]))
        return choice_measure(which, others=OTHERS, seed=0)

    def _by_blocks(self, name: str, before: "_There | None", after: "_There", samples: Samples) -> Fields | None:
        """Measure by the check itself, whole and in blocks, whose differences show the spread."""
        whole = self._run_check(name, before, after, samples)
        if whole is None:
            return None
        count = min(_BLOCKS, len(samples) // _LEAST_BLOCK)
        edges = np.linspace(0, len(samples), count + 1).astype(int)
        parts = [
            self._run_check(name, before, after, rows_of(samples, slice(start, stop)))
            for start, stop in pairwise(edges.tolist())
        ]
        steps = [part[1] - part[0] for part in parts if part is not None]
        finite = [step for step in steps if math.isfinite(step)]
        change = whole[1] - whole[0]
        if len(finite) < 2 or not math.isfinite(change):
            return None
        spread = float(np.std(finite, ddof=1)) * math.sqrt(len(samples) / len(finite))
        return {"change": change, "spread": spread, "n": len(samples), "a_value": whole[0], "b_value": whole[1]}

    def _run_check(
        self, name: str, before: "_There | None", after: "_There", samples: Samples
    ) -> tuple[float, float] | None:
        check = self.wanted.sets[name][0]
        check_parameters = {**CATALOGUE[check].parameters, **self.wanted.parameters.get(name, {}), "least_samples": 1}
        parameters = {key: value for key, value in check_parameters.items() if value is not None}
        against = "base" if before is None else "promoted"
        spec = CheckSpec(check, required=False, parameters=parameters, check=check, against=against, probes=_PROBES)
        case = self.trials.case(
            after.delta,
            incumbent=None if before is None else before.engine,
            engine=after.engine,
            samples=lambda _: samples,
        )
        finding = all_checks()[check].run(case, spec)
        if not isinstance(finding.value, float) or not isinstance(finding.baseline, float):
            return None
        return finding.baseline, finding.value


@dataclass(frozen=True, slots=True)
class _There:
    """A version on the base."""

    ref: str
    delta: TrialDelta
    engine: DeltaEngine
    is_sibling: bool = False


def _by_rows(
    measure: RowMeasure, theirs: EngineSide, ours: EngineSide, samples: Samples, *, is_pair: bool
) -> Fields | None:
    """Return a change and, of a pair of versions that were trained, what each sample adds to it."""
    before, after = measure.rows(theirs, samples), measure.rows(ours, samples)
    change = None if before is None or after is None else measure.change(before, after)
    scaled = None if change is None else _on_scale(change)
    if scaled is None or before is None or after is None or not is_pair:
        return scaled
    if before.ndim == 1:
        return {**scaled, "samples": [before.tolist(), after.tolist(), [1.0] * len(after)]}
    counted = (before[:, 1] > 0) & (after[:, 1] > 0)
    return {**scaled, "samples": [before[counted, 0].tolist(), after[counted, 0].tolist(), after[counted, 1].tolist()]}


def _on_scale(found: MeasureChange) -> Fields | None:
    """Return a change and the spread of single samples; of a factor, by logarithms."""
    one = found.change
    ends = (one.value, one.low, one.high)
    if found.is_factor:
        if min(ends) <= 0 or not all(map(math.isfinite, ends)):
            return None
        ends = (math.log(ends[0]), math.log(ends[1]), math.log(ends[2]))
    change, low, high = ends
    if not all(map(math.isfinite, ends)):
        return None
    spread = (high - low) / 2 / _Z * math.sqrt(one.n)
    return {"change": change, "spread": spread, "n": one.n, "a_value": found.a.value, "b_value": found.b.value}


def _read_set(wanted: PilotRequest, name: str) -> Samples:
    file = wanted.sets[name][1]
    return read_samples(ProbeSet(name, file), (wanted.out / file).read_bytes())


def rows_of(samples: Samples, rows: slice) -> Samples:
    """Return some samples of a set."""
    return replace(
        samples,
        texts=samples.texts[rows],
        arrays={name: value[rows] for name, value in samples.arrays.items()},
        labels=None if samples.labels is None else samples.labels[rows],
        targets=samples.targets[rows],
        partners=samples.partners[rows],
        scores=None if samples.scores is None else samples.scores[rows],
        candidates=samples.candidates[rows],
        groups=samples.groups[rows],
    )
