"""What every kind must do, held against a real sample of each.

A new kind joins with a sample: a folder in `tests/samples/kinds`, listed in its manifest. Here it
is recognised, accounted for and folded as its library folds it; then it is broken in the ways in
which uploads break, and each must be refused.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deltareg.delta.accounting import account, recognise
from deltareg.delta.examine import examine
from deltareg.delta.fold import Folding
from deltareg.delta.kind import AGAIN, Addition, BaseCopy, WeightUpdate
from deltareg.delta.kinds import all_kinds
from deltareg.delta.shapes import header_tensors
from deltareg.errors import Refused
from deltareg.tensors.array import to_f32, view
from deltareg.tensors.header import TensorInfo
from tests.folders import open_base, open_folder
from tests.samples.surgery import read_tensors

SAMPLES = Path(__file__).parents[1] / "samples"
MANIFEST = {
    entry["id"]: entry for entry in json.loads((SAMPLES / "kinds/manifest.json").read_text())
}
BASES = {name: open_base(SAMPLES / "bases" / name) for name in ("tinyllama", "tinygpt2")}
CONFIG = "adapter_config.json"
# The library folds these, and the registry says no: the reason stands beside each.
NOT_READ: dict[str, str] = {
    "adamss": "which outputs a factor adds to follows from a clustering that is not saved",
    "osf": "it replaces singular components that are worked out from the base on every load",
    "psoft": "it turns singular vectors of the base, whose signs are arbitrary",
    "unilora": "it was saved without its places, which NumPy's generator drew",
}
SURPRISE = "base_model.model.model.layers.0.self_attn.q_proj.surprise"

every_kind = pytest.mark.parametrize("sample", sorted(MANIFEST.keys() - NOT_READ.keys()))


def opened(sample):
    """Give a sample's files and tensors, and its base's view and tensors."""
    folder = open_folder(SAMPLES / "kinds" / sample / "delta")
    return folder, *BASES[MANIFEST[sample]["base"]]


def assessed(files, tensors, base):
    """Recognise and account as a push does; gives the account, refusals as problems."""
    kind, _ = recognise(files, base)
    return account(kind.parse(files, base), files, tensors, base)


def codes(files, base):
    """Give the codes of the errors that an upload gets from its headers and documents."""
    try:
        found = assessed(files, header_tensors(files), base)
    except Refused as refused:
        return [problem.code for problem in refused.problems]
    return [problem.code for problem in found.problems if problem.severity == "error"]


def with_tensors(files, change):
    """Give files whose one header has other tensors; `change` maps a dict of them."""
    ((path, header),) = files.headers.items()
    return replace(files, headers={path: replace(header, tensors=change(dict(header.tensors)))})


def with_config(files, **fields):
    document = {**files.documents[CONFIG], **fields}
    return replace(files, documents={**files.documents, CONFIG: document})


@every_kind
def test_one_reader_claims_it_most(sample):
    folder, base, _ = opened(sample)

    claims = [
        match for kind in all_kinds().values() if (match := kind.recognise(folder.files, base))
    ]

    best = max(match.strength for match in claims)
    assert sum(match.strength == best for match in claims) == 1


@every_kind
def test_every_tensor_is_used_and_nothing_is_wrong(sample):
    folder, base, weights = opened(sample)

    found = assessed(folder.files, folder.tensors, base)

    assert [*found.problems, *examine(found, folder.tensors, weights, folder.files)] == []
    assert found.roles.keys() == folder.files.names
    assert found.modules > 0


@every_kind
def test_headers_alone_tell_the_same_effects(sample):
    folder, base, _ = opened(sample)

    blind = assessed(folder.files, header_tensors(folder.files), base)

    assert blind.roles == assessed(folder.files, folder.tensors, base).roles


@every_kind
def test_it_folds_when_all_of_it_is_on_weights(sample):
    folder, base, _ = opened(sample)

    found = assessed(folder.files, folder.tensors, base)

    is_weights = all(isinstance(e, (WeightUpdate, Addition, BaseCopy)) for e in found.effects)
    assert found.delta.foldable == is_weights == MANIFEST[sample]["merges"]


@pytest.mark.parametrize(
    "sample", sorted(s for s, e in MANIFEST.items() if e["merges"] and s not in NOT_READ)
)
def test_it_folds_into_what_the_library_merges(sample):
    folder, base, weights = opened(sample)
    found = assessed(folder.files, folder.tensors, base)
    expected = read_tensors(SAMPLES / "kinds" / sample / "expected.safetensors")

    folding = Folding(found.effects, weights)

    changed = {base.names.memory(name) or name for name in folding.changed}
    assert set(MANIFEST[sample]["changed"]) <= changed
    for name, want in expected.items():
        if not name.startswith("merged::"):
            continue
        target = base.names.tensor(name.removeprefix("merged::"))
        got = values(b"".join(folding.rows(target)), folding.dtype(target), folding.shape(target))
        assert np.max(np.abs(got - want)) <= 1e-6


def values(raw, dtype, shape):
    return to_f32(view(raw, dtype, shape), dtype)


@every_kind
def test_its_settings_are_plain_and_hold_no_floats(sample):
    folder, base, _ = opened(sample)

    config = assessed(folder.files, folder.tensors, base).delta.config()

    assert not any(isinstance(value, float) for value in flat(json.loads(json.dumps(config))))


def flat(value):
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    yield value
    for item in inside:
        yield from flat(item)


@every_kind
def test_no_tensor_may_be_lost(sample):
    folder, base, _ = opened(sample)
    roles = assessed(folder.files, folder.tensors, base).roles
    twice = {role for role, _ in roles.values() if role.endswith(AGAIN)}
    twice |= {role.removesuffix(AGAIN) for role in twice}  # either of them says all there is
    names = sorted(name for name, (role, _) in roles.items() if role not in twice)

    taken = [
        name for name in names
        if codes(with_tensors(folder.files, lambda t, n=name: without(t, n)), base) == []
    ]  # fmt: skip

    assert taken == []


def without(tensors, name):
    return {other: info for other, info in tensors.items() if other != name}


@every_kind
def test_no_tensor_may_be_one_too_many(sample):
    folder, base, _ = opened(sample)
    surprise = TensorInfo(SURPRISE, "F32", (2, 2), 0, 16)

    found = codes(with_tensors(folder.files, lambda t: {**t, SURPRISE: surprise}), base)

    assert found != []


@every_kind
def test_no_tensor_may_have_another_shape(sample):
    folder, base, _ = opened(sample)
    names = sorted(folder.files.names)

    taken = [
        name for name in names
        if codes(with_tensors(folder.files, lambda t, n=name: grown(t, n)), base) == []
    ]  # fmt: skip

    assert taken == []


def grown(tensors, name):
    info = tensors[name]
    shape = tuple(size + 1 for size in info.shape)
    return {**tensors, name: replace(info, shape=shape)}


@every_kind
def test_a_module_that_the_base_lacks_is_refused(sample):
    folder, base, _ = opened(sample)
    if not any("layers.0" in name or ".h.0" in name for name in folder.files.names):
        pytest.skip("its tensors belong to no layer")

    def moved(tensors):
        names = {n: n.replace("layers.0.", "layers.7.").replace(".h.0.", ".h.7.") for n in tensors}
        return {new: replace(tensors[old], name=new) for old, new in names.items()}

    assert codes(with_tensors(folder.files, moved), base) != []


@every_kind
def test_what_the_config_says_and_nobody_knows_is_refused(sample):
    folder, base, _ = opened(sample)

    found = codes(with_config(folder.files, surprising_flag="on"), base)

    assert found == ["bad_config"]


@every_kind
def test_code_to_import_is_refused(sample):
    folder, base, _ = opened(sample)
    mapping = {"base_model_class": "Evil", "parent_library": "evil"}

    found = codes(with_config(folder.files, auto_mapping=mapping), base)

    assert found == ["custom_code"]


@every_kind
def test_its_tensors_without_a_config_are_refused(sample):
    folder, base, _ = opened(sample)
    documents = {n: d for n, d in folder.files.documents.items() if n != CONFIG}

    found = codes(replace(folder.files, documents=documents), base)

    assert found != []
