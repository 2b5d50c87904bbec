"""What every kind must do, tested on a real sample of each.

A sample has to be recognised, accounted for and folded as its library folds it; then it is broken
as uploads break, and each broken one must be refused.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import ClassVar, Protocol, cast
from unittest import SkipTest

import numpy as np
from numpy.typing import NDArray

from deltareg.delta.accounting import account, recognise
from deltareg.delta.examine import examine
from deltareg.delta.fold import FoldedBase
from deltareg.delta.kind import AGAIN, Account, Addition, BaseCopy, BaseView, DeltaFiles, Tensors, WeightUpdate
from deltareg.delta.kinds import all_kinds
from deltareg.delta.shapes import header_tensors
from deltareg.errors import Refused
from deltareg.tensors.array import to_f32, view
from deltareg.tensors.header import TensorInfo
from deltareg.testing.folders import SampleFolder, open_base, open_folder

_CLOSE = 1e-6
_CONFIG = "adapter_config.json"
_SURPRISE = "base_model.model.model.layers.0.self_attn.q_proj.surprise"

Header = dict[str, TensorInfo]
open_base_once = cache(open_base)


@dataclass(frozen=True, slots=True)
class Sample:
    """A real delta of a kind, as its library wrote it, and what that library makes of it.

    Attributes:
        delta: Its folder.
        base: The folder of the base that it was trained on; small enough to be read whole.
        folds: Whether all its effects are on stored weights.
        merged: The weights as the library merges them, in float32, by their name in the base's
            files or in memory; empty if it merges nothing.
        config: The name of the document that holds its settings; empty if it has none.
    """

    delta: Path
    base: Path
    folds: bool = True
    merged: Callable[[], Mapping[str, NDArray[np.float32]]] = field(default=dict[str, NDArray[np.float32]])
    config: str = _CONFIG

    def open_with_base(self) -> tuple[SampleFolder, BaseView, Tensors]:
        """Read the delta's folder, and the base's once for all samples."""
        return open_folder(self.delta), *open_base_once(self.base)


class _Cases(Protocol):
    """The part of pytest's `Metafunc` that passes the samples to every test."""

    fixturenames: Sequence[str]

    def parametrize(self, name: str, values: Iterable[object], /, *, ids: Iterable[str]) -> None:
        """Run a test once for each value."""
        ...


class KindTests:
    """The tests; a subclass whose name begins with `Test` runs them on its samples."""

    samples: ClassVar[Mapping[str, Sample]] = {}

    def pytest_generate_tests(self, metafunc: _Cases) -> None:
        """Run every test on every sample."""
        if "sample" in metafunc.fixturenames:
            metafunc.parametrize("sample", self.samples.values(), ids=list(self.samples))

    def test_one_reader_claims_it_most(self, sample: Sample) -> None:
        """Exactly one reader claims the sample."""
        folder, base, _ = sample.open_with_base()
        matches = (kind.recognise(folder.files, base) for kind in all_kinds().values())

        claims = [match.strength for match in matches if match]

        assert claims.count(max(claims)) == 1

    def test_every_tensor_is_used_and_nothing_is_wrong(self, sample: Sample) -> None:
        """The sample is accepted as it is, including its numbers."""
        folder, base, weights = sample.open_with_base()

        account = assess_delta(folder.files, folder.tensors, base)

        assert [*account.problems, *examine(account, folder.tensors, weights, folder.files)] == []
        assert account.roles.keys() == folder.files.names
        assert account.modules > 0

    def test_headers_alone_tell_the_same_effects(self, sample: Sample) -> None:
        """The server, which reads no tensor, sees the same effects as the client."""
        folder, base, _ = sample.open_with_base()

        blind = assess_delta(folder.files, header_tensors(folder.files), base)

        assert blind.roles == assess_delta(folder.files, folder.tensors, base).roles

    def test_it_folds_when_all_of_it_is_on_weights(self, sample: Sample) -> None:
        """The kind says that it folds exactly if all effects are on stored weights."""
        folder, base, _ = sample.open_with_base()

        account = assess_delta(folder.files, folder.tensors, base)

        is_weights = all(isinstance(e, (WeightUpdate, Addition, BaseCopy)) for e in account.effects)
        assert account.delta is not None
        assert account.delta.foldable == is_weights == sample.folds

    def test_it_folds_into_what_the_library_merges(self, sample: Sample) -> None:
        """Folding gives the weights that the library's own merge gives."""
        expected = sample.merged()
        if not expected:
            raise SkipTest("its library merges nothing")
        folder, base, weights = sample.open_with_base()
        account = assess_delta(folder.files, folder.tensors, base)

        folding = FoldedBase(account.effects, weights)

        for name, want in expected.items():
            target = base.names.tensor(name) or name
            actual = view(b"".join(folding.rows(target)), folding.dtype(target), folding.shape(target))
            assert np.max(np.abs(to_f32(actual, folding.dtype(target)) - want)) <= _CLOSE, name

    def test_its_settings_are_plain_and_hold_no_floats(self, sample: Sample) -> None:
        """The settings suit the manifest's canonical JSON, where floats have no single form."""
        folder, base, _ = sample.open_with_base()

        delta = assess_delta(folder.files, folder.tensors, base).delta

        assert delta is not None
        config = json.loads(json.dumps(delta.config()))
        assert not any(isinstance(value, float) for value in _flat(config))

    def test_no_tensor_may_be_lost(self, sample: Sample) -> None:
        """Half of a delta is refused, whichever half it is."""
        folder, base, _ = sample.open_with_base()
        roles = assess_delta(folder.files, folder.tensors, base).roles
        twice = {role for role, _ in roles.values() if role.endswith(AGAIN)}
        twice |= {role.removesuffix(AGAIN) for role in twice}  # either says all there is
        names = sorted(name for name, (role, _) in roles.items() if role not in twice)

        accepted = [name for name in names if not codes(_change_tensors(folder.files, _without(name)), base)]

        assert accepted == []

    def test_no_tensor_may_be_one_too_many(self, sample: Sample) -> None:
        """A tensor that nothing uses is refused."""
        folder, base, _ = sample.open_with_base()
        surprise = TensorInfo(_SURPRISE, "F32", (2, 2), 0, 16)

        error_codes = codes(_change_tensors(folder.files, lambda all_: {**all_, _SURPRISE: surprise}), base)

        assert error_codes != []

    def test_no_tensor_may_have_another_shape(self, sample: Sample) -> None:
        """A tensor that does not fit is found before any of its bytes is read."""
        folder, base, _ = sample.open_with_base()
        names = sorted(folder.files.names)

        accepted = [name for name in names if not codes(_change_tensors(folder.files, _grow_tensor(name)), base)]

        assert accepted == []

    def test_a_module_that_the_base_lacks_is_refused(self, sample: Sample) -> None:
        """A delta for a deeper base is refused rather than half applied."""
        folder, base, _ = sample.open_with_base()
        if not any("layers.0" in name or ".h.0" in name for name in folder.files.names):
            raise SkipTest("its tensors belong to no layer")

        assert codes(_change_tensors(folder.files, _move_layer), base) != []

    def test_what_the_config_says_and_nobody_knows_is_refused(self, sample: Sample) -> None:
        """An unknown flag may change the maths, so none is ignored."""
        folder, base, _ = sample.open_with_base()

        error_codes = codes(_with_config(sample, folder.files, surprising_flag="on"), base)

        assert error_codes == ["bad_config"]

    def test_code_to_import_is_refused(self, sample: Sample) -> None:
        """Nothing that an uploader names is ever imported."""
        folder, base, _ = sample.open_with_base()
        mapping = {"base_model_class": "Evil", "parent_library": "evil"}

        error_codes = codes(_with_config(sample, folder.files, auto_mapping=mapping), base)

        assert error_codes == ["custom_code"]

    def test_its_tensors_without_a_config_are_refused(self, sample: Sample) -> None:
        """A missing scale is not guessed."""
        folder, base, _ = sample.open_with_base()
        _config_of(sample, folder.files)
        documents = {n: d for n, d in folder.files.documents.items() if n != sample.config}

        assert codes(replace(folder.files, documents=documents), base) != []


def assess_delta(files: DeltaFiles, tensors: Tensors, base: BaseView) -> Account:
    """Recognise and account for a delta as a push does.

    Raises:
        Refused: The delta is of no known kind, or its configuration is refused.
    """
    kind, _ = recognise(files, base)
    return account(kind.parse(files, base), files, tensors, base)


def codes(files: DeltaFiles, base: BaseView) -> list[str]:
    """Return the codes of the errors that an upload gets from its headers and documents."""
    try:
        account = assess_delta(files, header_tensors(files), base)
    except Refused as refused:
        return [problem.code for problem in refused.problems]
    return [problem.code for problem in account.problems if problem.severity == "error"]


def _change_tensors(files: DeltaFiles, change: Callable[[Header], Header]) -> DeltaFiles:
    """Return the files with the tensors of one header changed."""
    ((path, header),) = files.headers.items()
    return replace(files, headers={path: replace(header, tensors=change(dict(header.tensors)))})


def _with_config(sample: Sample, files: DeltaFiles, **fields: object) -> DeltaFiles:
    document = {**_config_of(sample, files), **fields}
    return replace(files, documents={**files.documents, sample.config: document})


def _config_of(sample: Sample, files: DeltaFiles) -> Mapping[str, object]:
    if not sample.config:
        raise SkipTest("it has no config")
    return files.documents[sample.config]


def _without(name: str) -> Callable[[Header], Header]:
    return lambda tensors: {other: info for other, info in tensors.items() if other != name}


def _grow_tensor(name: str) -> Callable[[Header], Header]:
    def grow(tensors: Header) -> Header:
        shape = tuple(size + 1 for size in tensors[name].shape)
        return {**tensors, name: replace(tensors[name], shape=shape)}

    return grow


def _move_layer(tensors: Header) -> Header:
    names = {n: n.replace("layers.0.", "layers.7.").replace(".h.0.", ".h.7.") for n in tensors}
    return {new: replace(tensors[old], name=new) for old, new in names.items()}


def _flat(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, dict):
        inside = list(cast("dict[str, object]", value).values())
    else:
        inside = cast("list[object]", value) if isinstance(value, list) else []
    for item in inside:
        yield from _flat(item)
