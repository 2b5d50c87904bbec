"""One delta the registry's way, against the library that made it."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deltareg.client.fold.fold_folder import fold_folder
from deltareg.errors import Inconclusive, Refused
from deltareg_verify.judging.examine import examine
from deltareg_verify.judging.verdict import judge
from tests.fresh import bases
from tests.fresh.anatomy import Anatomy, anatomy_of
from tests.fresh.inputs import Inputs, inputs_of
from tests.fresh.recipes import Random, Recipe, quiet
from tests.small_networks import torch
from tests.verify.bench import SMOKE, Bench

Arrays = Mapping[str, np.ndarray[Any, Any]]
TOLERANCE = 1e-5
_LOOSE = 1e-4
_BY_SINGULAR_VALUES = frozenset({"pissa", "olora"})  # of the base, worked out anew at each load
_NO_EFFECT = 1e-5
RESULTS = {
    (True, True): "right",
    (True, False): "doubted",
    (False, True): "wrong",
    (False, False): "told",
}  # by whether the numbers are right, and whether `smoke` passes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one delta.

    Attributes:
        base: The base's name.
        architecture: Its model type.
        recipe: The recipe's name.
        result: `right`; `refused`; `wrong`, which is silently so; `told`, wrong and `smoke` says
            so; `doubted`, right and `smoke` does not pass; `not made` by the library; `no effect`;
            or `not for it`, where a recipe has nothing to act on.
        kind: What the registry took it for; empty when refused.
        folded: Largest error of the folded folder, in units of the largest output; None without.
        attached: The same of the attached state.
        code: Of the refusal.
        message: The reason, whatever the result.
        refused: The code that had to refuse it.
        by: The release that wrote it, where that is not an installed one of peft or transformers.
        converted: What becomes of it after the `convert` that the refusal names; empty where it names none.
    """

    base: str
    architecture: str
    recipe: str
    result: str
    kind: str = ""
    folded: float | None = None
    attached: float | None = None
    code: str = ""
    message: str = ""
    refused: str = ""
    by: str = ""
    converted: str = ""

    @property
    def error(self) -> float:
        """The larger of the two errors."""
        return max((e for e in (self.folded, self.attached) if e is not None), default=0.0)


@dataclass(slots=True)
class Workplace:
    """A base that deltas are made for.

    Attributes:
        name: The base's name.
        folder: Where everything lies.
        anatomy: What it has.
        inputs: What goes into it.
        plain: What it computes by itself.
        lost: What transformers itself does not find in the base that it saved.
    """

    name: str
    folder: Path
    anatomy: Anatomy
    inputs: Inputs
    plain: Arrays
    lost: frozenset[str]


@contextmanager
def workplace(name: str, folder: Path) -> Iterator[Workplace]:
    """Make a base and save it; the folder is gone afterwards."""
    with quiet():
        network = bases.made(name)
        inputs = inputs_of(network)
        network.save_pretrained(folder / "base")
        _as_published(folder / "base" / "config.json")
        loaded, lost = _reloaded(name, folder / "base")
    try:
        yield Workplace(name, folder, anatomy_of(network), inputs, bases.outputs(loaded, inputs), lost)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_published(config: Path) -> None:
    """Leave out what only the newest library writes: published bases do not have it."""
    told = json.loads(config.read_text())
    if told.get("scale_decoder_outputs"):  # what is read from the ties where it is not there
        del told["scale_decoder_outputs"]
    config.write_text(json.dumps(told))


def run(place: Workplace, title: str, recipe: Recipe, *, seed: int = 0) -> Outcome:
    """Make one delta, ask the library, ask the registry."""
    delta = place.folder / "delta"
    start = Outcome(place.name, bases.architecture(place.name), title, "not made", refused=recipe.refused)
    random = np.random.default_rng([seed, *f"{place.name}/{title}".encode()])
    shutil.rmtree(delta, ignore_errors=True)
    try:
        with quiet():
            is_for_it, want = _made(place, recipe, random, delta)
    except Exception as error:  # noqa: BLE001  # whatever the library cannot do is no delta
        return replace(start, message=line_of(error))
    if not is_for_it:
        return replace(start, result="not for it")
    if not recipe.refused and not all(np.isfinite(value).all() for value in want.values()):
        return replace(start, message="its outputs are not finite")
    if not recipe.refused and difference(place.plain, want) < _NO_EFFECT:
        return replace(start, result="no effect")
    return _judged(place, delta, want, start)


def _made(place: Workplace, recipe: Recipe, random: Random, delta: Path) -> tuple[bool, Arrays]:
    """Save a delta; gives whether there is one, and what the library computes with it.

    That is nothing where the library cannot load what was broken on purpose.
    """
    network = bases.made(place.name)
    if not recipe.saved(network, place.anatomy, random, place.inputs, delta):
        return False, {}
    if recipe.edit is None:
        return True, _answers(place, recipe, delta)
    before = _answers(place, recipe, delta)
    if not recipe.edit(delta, place.anatomy, random):
        return False, {}
    try:
        after = _answers(place, recipe, delta)
    except Exception:  # noqa: BLE001  # of any kind: it is to be refused anyway
        return True, {}
    return difference(before, after) > _NO_EFFECT, after


def _answers(place: Workplace, recipe: Recipe, delta: Path) -> Arrays:
    """Give what the library computes with the saved delta."""
    model = recipe.loaded(bases.class_of(place.name), place.folder / "base", delta)
    return bases.outputs(model, place.inputs)


def _judged(place: Workplace, delta: Path, want: Arrays, start: Outcome) -> Outcome:
    try:
        bench = Bench(delta, place.folder / "base", place.folder / "cache")
    except Refused as refused:
        return refusal_of(refused, start)
    with bench.base, bench.folder:
        return _compared(place, bench, want, start)


def refusal_of(refused: Refused, start: Outcome) -> Outcome:
    """Say why a delta was not taken."""
    problem = next(p for p in refused.problems if p.severity == "error")
    said = f"{problem.message} [{problem.tensor}]" if problem.tensor else problem.message
    return replace(start, result="refused", code=problem.code, message=said)


def _compared(place: Workplace, bench: Bench, want: Arrays, start: Outcome) -> Outcome:
    kind, folded, attached, said = bench.assessment.kind, None, None, ""
    if kind.foldable:
        folded, said = _folded(place, bench, want)
    given = {name: value.numpy() for name, value in place.inputs.items()}
    with quiet():
        try:
            attached = difference(bench.engine().outputs_for("attached", given), want)
        except Exception as error:  # noqa: BLE001  # as the worker does: it is no pass
            said = f"{said} not attached: {line_of(error)}".strip()
        doubt = doubt_of(bench)
    errors = [error for error in (folded, attached) if error is not None]
    is_right = all(error <= _tolerance(kind.variant) for error in errors)
    result = RESULTS[is_right, not doubt]
    return replace(
        start,
        result=result,
        kind=f"{kind.name} {kind.variant}".strip(),
        folded=folded,
        attached=attached,
        message="; ".join(part for part in (said, doubt) if part),
    )


def doubt_of(bench: Bench) -> str:
    """Say why `smoke` does not pass; nothing where it does."""
    try:
        results = list(examine(bench.case()))
    except Inconclusive as error:
        return f"inconclusive: {error}"
    if judge(SMOKE, results) == "pass":
        return ""
    shown = {"pass", "warn", "n/a"}
    return "; ".join(f"{r.name} {r.verdict}: {r.detail}" for r in results if r.verdict not in shown)


def _tolerance(variant: str) -> float:
    return _LOOSE if variant in _BY_SINGULAR_VALUES else TOLERANCE


def _folded(place: Workplace, bench: Bench, want: Arrays) -> tuple[float, str]:
    out = place.folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    fold_folder(bench.base, bench.folder, out)
    try:
        with quiet():
            network, lost = _reloaded(place.name, out)
            error = difference(bases.outputs(network, place.inputs), want)
    except (RuntimeError, ValueError, OSError) as failed:
        return float("inf"), f"the folded folder does not load: {line_of(failed)}"
    more = sorted(lost - place.lost)
    if more:
        return float("inf"), f"the folded folder loads with other tensors: {more[:3]}"
    return error, ""


def _reloaded(name: str, folder: Path) -> tuple[Any, frozenset[str]]:
    """Load a folder, and say what was not in it, not used, or of another shape."""
    network, told = bases.class_of(name).from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    listed = [*told["missing_keys"], *told["unexpected_keys"], *told["mismatched_keys"]]
    return network.eval(), frozenset(str(entry) for entry in listed)


def difference(got: Arrays, want: Arrays) -> float:
    """Give the largest difference of any output, in units of its largest value if that is > 1."""
    if got.keys() != want.keys() or any(got[n].shape != want[n].shape for n in want):
        return float("inf")
    return max(float(np.abs(got[n] - want[n]).max(initial=0) / max(1.0, np.abs(want[n]).max(initial=0))) for n in want)


def line_of(error: BaseException) -> str:
    # What a library has not made is its own affair; by the class it would read as ours.
    is_absent = isinstance(error, NotImplementedError)
    what = "the library does not do it" if is_absent else type(error).__name__
    return f"{what}: {str(error).strip()[:160]}".replace("\n", " ")
