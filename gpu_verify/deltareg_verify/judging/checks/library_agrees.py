"""The library that wrote the delta gives the same outputs as the engine here.

Attached and folded are two ways of one reading. This is an independent reading: the library loads
base and delta by itself, from the very folder that a pull gives, and a config that means something
else to it shows.

Libraries leave names behind: what transformers 4 called `experts.0.gate_proj` is a row of one tensor
today. A delta with such names is right where it was made. Today's library drops what it does not find,
without an error, so the two are then compared over the rest.

Libraries also change formulas. Such a delta is read by that of the release that wrote it, and today's
library has to agree where some other config makes it compute the same.
"""

import json
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from deltareg.delta.kind import WeightUpdate
from deltareg.delta.older_reading import OlderReading, older_reading
from deltareg.documents.json_values import parse_json
from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.arrays import find_overlap, root_mean_square
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.dtypes import TOLERANCES
from deltareg_verify.engine.engine import Outputs, SecondOpinion
from deltareg_verify.judging.check import Check, Finding

_DIFFERS, _ABSENT, _OLDER = "library_differs", "library_absent", "older_library"
_NO_LIBRARY = "no library reads it beside transformers, see reloads"
_CONFIG = "adapter_config.json"
_VERSION = "peft_version"  # in configs since peft 0.18
_CARD, _CARD_BYTES = "README.md", 1 << 20
_WRITTEN_BY = re.compile(r"^\s*-\s*PEFT\s+(\d[\w.]{0,30})\s*$", re.MULTILINE | re.IGNORECASE)


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the library's outputs on the probe with the attached ones."""
    library = case.manifest.source.library
    is_model = library == "transformers" and case.manifest.kind == "full"
    if library in {"", "deltareg", "transformers"} and not is_model:
        return Finding("n/a", detail=_NO_LIBRARY)
    opinion = case.engine.second_opinion(library, case.folder.path)
    if not opinion.version:
        return Finding("n/a", detail=_NO_LIBRARY) if is_model else _absent(spec, opinion)
    name = f"{opinion.library} {opinion.version}"
    if opinion.outputs is None and opinion.fault:  # it cannot show anything, and says so to everybody
        return Finding("warn", code=_DIFFERS, detail=f"{name} loads it, no more: {opinion.fault}")
    if opinion.outputs is None:
        finding = Finding("fail", code=_DIFFERS, detail=f"{name} does not load it: {opinion.refusal}")
    else:
        finding = _compare_outputs(case, spec, opinion.outputs, case.outputs("attached"), name)
    if finding.verdict != "fail" or library != "peft":
        return finding
    reading = older_reading(case.account.delta)
    if reading is not None:
        return _judge_reading(case, spec, opinion, reading, finding)
    older = _effects_of_older_names(case)
    finding = _judge_older(case, spec, opinion, older, finding) if older else finding
    return _explain_direct(case, finding) if finding.verdict == "fail" else finding


def _compare_outputs(case: Case, spec: CheckSpec, outputs: Outputs, ours: Outputs, name: str) -> Finding:
    """Compare the difference with the delta's effect, and with rounding."""
    base = case.outputs("base")
    alike = [key for key in ours if key in outputs and outputs[key].shape == ours[key].shape]
    if not alike:
        return Finding("fail", code=_DIFFERS, detail=f"{name} gives outputs of other shapes")
    effect = _distance({key: base[key] for key in alike if key in base}, ours)
    difference = _distance({key: ours[key] for key in alike}, outputs)
    scale = max(root_mean_square(base), root_mean_square(ours))
    noise = spec.number(TOLERANCES[case.engine.dtype]) * scale
    tolerance = max(noise, spec.number("share") * effect)
    detail = f"{name}: {difference:.2g} of an effect of {effect:.2g}"
    if not difference <= tolerance:
        return Finding("fail", difference, tolerance, code=_DIFFERS, detail=detail)
    if effect < noise:
        detail += f", which is within the rounding of {case.engine.dtype}"
    return Finding("pass", difference, tolerance, detail=detail)


def _judge_reading(
    case: Case, spec: CheckSpec, opinion: SecondOpinion, reading: OlderReading, differs: Finding
) -> Finding:
    """Judge a delta whose formula the library has changed: where a config says the same today, they have to agree."""
    name = f"{opinion.library} {opinion.version}"
    agrees = "does not load it" if opinion.outputs is None else "computes it by another formula"
    if reading.fields is not None:
        with _with_fields(case.folder.path, reading.fields) as folder:
            restated = case.engine.second_opinion(case.manifest.source.library, folder)
        if restated.outputs is None:
            return differs
        found = _compare_outputs(case, spec, restated.outputs, case.outputs("attached"), name)
        if found.verdict == "fail":
            return found
        agrees = f"agrees with {' and '.join(sorted(reading.fields))} as {reading.releases} used them"
    detail = f"{name} {agrees} ({reading.difference}); load it with {reading.releases}, or fold it"
    return Finding("fail" if _is_needed(spec) else "warn", differs.value, differs.threshold, code=_OLDER, detail=detail)


@contextmanager
def _with_fields(folder: Path, fields: Mapping[str, object]) -> Generator[Path, None, None]:
    """Yield a folder with the same files, and other values for some fields of the config."""
    with TemporaryDirectory() as copy:
        for file in filter(Path.is_file, folder.iterdir()):
            (Path(copy) / file.name).symlink_to(file.resolve())
        config = Path(copy) / _CONFIG
        document = cast("dict[str, object]", parse_json(config.read_bytes()))
        config.unlink()
        config.write_text(json.dumps({**document, **fields}))
        yield Path(copy)


def _effects_of_older_names(case: Case) -> Sequence[WeightUpdate]:
    """Return the effects on modules that an earlier transformers had, and that today's network has not.

    peft 0.18 and later look for experts by the last part of a name, and lose a shared expert's along with them.
    """
    names, config = case.base.view.names, case.folder.files.documents.get(_CONFIG, {})
    effects = [effect for effect in case.account.effects if isinstance(effect, WeightUpdate)]
    gone: set[str] = set()
    if not config.get("target_parameters"):
        targets = sorted({_weight_of(effect) for effect in effects})  # a bias goes where its layer goes
        gone = {*case.engine.find_outside_layers(targets)}
        # An earlier transformers ran modules that today's computes with by their weight alone.
        gone |= set() if config.get(_VERSION) else {*case.engine.find_read_directly(targets)}
    experts = {_last_name(effect) for effect in effects if names.part(effect.target) is not None}
    return [
        effect
        for effect in effects
        if (_weight_of(effect) in gone and not effect.update.replaces)
        or _last_name(effect) in experts
        or any(names.apply_renames(tensor) != tensor for tensor in effect.consumes)
    ]


def _explain_direct(case: Case, differs: Finding) -> Finding:
    """Say which modules the library adapts in vain: the network computes with their weight and does not run them."""
    targets = sorted(e.target for e in case.account.effects if isinstance(e, WeightUpdate) and not e.update.replaces)
    direct = sorted(case.engine.find_read_directly(targets))
    if not direct or differs.value is None:
        return differs
    name = direct[0].removesuffix(".weight")
    why = f"the network computes with the weight of {name} and does not run it, so an adapter there does nothing until"
    return replace(
        differs, detail=f"{differs.detail}; {why} it is merged: take it out of target_modules, or push it merged"
    )


def _weight_of(effect: WeightUpdate) -> str:
    module, _, parameter = effect.target.rpartition(".")
    return f"{module}.weight" if parameter == "bias" else effect.target


def _last_name(effect: WeightUpdate) -> str:
    return effect.target.removesuffix(".weight").rpartition(".")[2]


def _judge_older(
    case: Case, spec: CheckSpec, opinion: SecondOpinion, older: Sequence[WeightUpdate], differs: Finding
) -> Finding:
    """Judge what today's library does with a delta of earlier names: without them the two have to agree."""
    name = f"{opinion.library} {opinion.version}"
    others = [effect for effect in case.account.effects if effect not in older]
    agrees = "loads none of it"
    if any(isinstance(effect, WeightUpdate) and not effect.update.replaces for effect in others):
        rest = case.engine.second_opinion(case.manifest.source.library, case.folder.path, without=older)
        if rest.outputs is None:
            return differs
        ours = case.engine.beside(others).outputs("attached")
        found = _compare_outputs(case, spec, rest.outputs, ours, name)
        if found.verdict == "fail":
            return found
        agrees = f"agrees on {len(others)} of {len(case.account.effects)} changes"
    maker = _written_by(case)
    loads = f"load it with {opinion.library} {maker} and transformers 4" if maker else "load it with transformers 4"
    detail = f"{name} {agrees}, and misreads what transformers 4 called {_first_name(case, older)}; {loads}, or fold it"
    return Finding("fail" if _is_needed(spec) else "warn", differs.value, differs.threshold, code=_OLDER, detail=detail)


def _written_by(case: Case) -> str:
    """Return the release of the library that wrote the delta, by its config or its card; empty if neither says."""
    version = case.manifest.source.version
    if version or _CARD not in case.folder.files.sizes:
        return version
    with (case.folder.path / _CARD).open(encoding="utf-8", errors="replace") as card:
        named = _WRITTEN_BY.search(card.read(_CARD_BYTES))
    return named.group(1) if named else ""


def _first_name(case: Case, effects: Sequence[WeightUpdate]) -> str:
    part = case.base.view.names.part
    return min((part(effect.target) is None, effect.target) for effect in effects)[1].removesuffix(".weight")


def _absent(spec: CheckSpec, found: SecondOpinion) -> Finding:
    reason = "it is not installed, or does not take such a delta by itself"
    detail = f"this worker cannot ask {found.library}: {reason}"
    return Finding("fail" if _is_needed(spec) else "warn", code=_ABSENT, detail=detail)


def _is_needed(spec: CheckSpec) -> bool:
    """Return whether a suite asks for the library's word where none can be had."""
    return spec.parameters["absent"] == "fail"


def _distance(some: Outputs, others: Outputs) -> float:
    """Return the root mean square of the difference, over the outputs of the first."""
    pairs = {name: (value, others[name]) for name, value in some.items()}
    return root_mean_square(
        {
            name: value[find_overlap(value, other)] - other[find_overlap(value, other)]
            for name, (value, other) in pairs.items()
        }
    )


CHECK = Check(
    "library_agrees",
    run,
    CheckForm(
        "the library that wrote it, asked itself, gives the same",
        {"f32": "0.00002", "bf16": "0.02", "f16": "0.005", "share": "0.001", "absent": "warn"},
        may_not_apply=True,
        fix="save it again with that library: model.save_pretrained(FOLDER)",
    ),
)
