"""The inputs on which two versions are compared: prompts, a suite's probe sets, or a seeded probe."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deltareg.errors import InvalidInput, NotFound
from deltareg.suites.probe_set import Samples, read_samples
from deltareg.suites.suite import CheckSpec, ProbeSet, Suite
from deltareg_verify.engine.changes import MEASURES

_OWN = "prompts"
_ENDINGS = (".txt", ".jsonl", ".safetensors")
_MOST_OF_A_SET = 200


@dataclass(frozen=True, slots=True)
class MeasureSpec:
    """A measure to take of both versions.

    Attributes:
        name: Its name in the suite.
        measure: One of `MEASURES`.
        probes: The probe set to measure on.
        within: For retrieval: the rank within which the partner must be.
    """

    name: str
    measure: str
    probes: str
    within: int | None = None


@dataclass(frozen=True, slots=True)
class ComparisonInputs:
    """The inputs that both versions run on.

    Attributes:
        source: `prompts`, `suite` or `probe`.
        sets: Samples by name; none for the seeded probe.
        measures: What is measured on them.
        most: How many samples of a set are compared one by one.
    """

    source: str
    sets: dict[str, Samples]
    measures: Sequence[MeasureSpec]
    most: int = _MOST_OF_A_SET


def gather_inputs(suite: Suite, probes: Path | None, prompts: Path | None) -> ComparisonInputs:
    """Read the inputs.

    Args:
        suite: Its probe sets are read when `probes` says where their files are.
        probes: The folder of the probe sets.
        prompts: A file of prompts, which takes precedence over the suite.

    Raises:
        InvalidInput: A file's content does not match its name.
        NotFound: A file does not exist.
    """
    if prompts is not None:
        return _own(prompts)
    if probes is None or all(one.is_task for one in suite.sets.values()):
        return ComparisonInputs("probe", {}, ())
    sets = {
        one.name: read_samples(one, (probes / one.file).read_bytes() if one.file else b"")
        for one in suite.sets.values()
        if not one.is_task
    }
    by_measure = {
        (measured.measure, measured.probes, measured.within): measured
        for measured in map(_build_measured, reversed(suite.checks))
        if measured.measure in MEASURES and measured.probes in sets
    }
    return ComparisonInputs("suite", sets, tuple(reversed(by_measure.values())))


def _build_measured(spec: CheckSpec) -> MeasureSpec:
    within = spec.parameters.get("within")
    return MeasureSpec(spec.name, spec.check, spec.probes, None if within is None else int(within))


def _own(path: Path) -> ComparisonInputs:
    if path.suffix not in _ENDINGS:
        raise InvalidInput(f"{path.name} is no file of prompts", fix=f"its name ends in {', '.join(_ENDINGS)}")
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", fix="name one with --prompts") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
    samples = read_samples(ProbeSet(_OWN, path.name), raw)
    names = ["perplexity"] if samples.texts else []
    names += ["accuracy"] if samples.labels is not None else []
    measures = tuple(MeasureSpec(name, name, _OWN) for name in names)
    return ComparisonInputs("prompts", {_OWN: samples}, measures, most=len(samples))
