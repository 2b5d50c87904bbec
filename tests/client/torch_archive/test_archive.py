"""Tensors of torch's files, read without torch, equal what torch reads."""

import io
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from deltareg.client.convert.torch_archive import read_archive
from deltareg.errors import Refused
from tests import corpus

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")

FORMS = {"zip": True, "row of pickles": False}
DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]


def saved(value, *, form="zip", **options):
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=FORMS[form], **options)
    return memoryview(out.getvalue())


def assert_equal(found, want):
    assert list(found) == list(want)
    for name, tensor in want.items():
        flat = tensor.detach().contiguous().reshape(-1)
        assert found[name].shape == tuple(tensor.shape), name
        assert bytes(found[name].read()) == bytes(flat.view(torch.uint8).numpy()), name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensors_are_those_that_were_saved(form, protocol):
    torch.manual_seed(0)
    state = {str(dtype): torch.randn(3, 4).to(dtype) for dtype in DTYPES}

    found = read_archive(saved(state, form=form, pickle_protocol=protocol))

    assert_equal(found, state)
    assert [t.dtype for t in found.values()] == ["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"]


@pytest.mark.parametrize("form", FORMS)
def test_views_of_one_storage_are_read_each_for_itself(form):
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = {
        "whole": whole,
        "again": whole,
        "turned": whole.T,
        "part": whole[1:3, 2:5],
        "steps": whole[::2, ::3],
        "one": whole[2, 3],
        "turned about": whole.reshape(2, 3, 4).permute(2, 0, 1),
    }

    assert_equal(read_archive(saved(state, form=form)), state)


def test_rows_are_read_in_runs():
    state = {"turned": torch.arange(24, dtype=torch.int32).reshape(4, 6).T}

    tensor = read_archive(saved(state))["turned"]

    assert bytes(tensor.read(2, 5)) == state["turned"][2:5].contiguous().numpy().tobytes()


@pytest.mark.parametrize("form", FORMS)
def test_a_state_dict_of_a_network_is_read(form):
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))

    assert_equal(read_archive(saved(network.state_dict(), form=form)), network.state_dict())


def test_parameters_are_tensors():
    parameter = torch.nn.Parameter(torch.ones(2))

    assert_equal(read_archive(saved(OrderedDict(a=parameter))), {"a": parameter})


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ({"a": torch.ones(1), "epoch": 3}, "epoch"),
        ({"a": {"b": torch.ones(1)}}, "'a' is a dict"),
        ([torch.ones(1)], "not a dictionary"),
        (torch.ones(1), "not a dictionary"),
        ({}, "no tensor"),
        ({"a": torch.ones(0)}, "holds nothing"),
        ({"a": torch.ones(2).expand(3, 2)}, "repeats"),
        ({"a": torch.ones(2).to_sparse()}, "_rebuild_sparse_tensor"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "ComplexFloatStorage"),
        ({"a": np.ones(2)}, "numpy"),
        ({1: torch.ones(1)}, "dictionary of texts"),
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_dictionary_of_tensors_is_refused(value, word, form):
    with pytest.raises(Refused) as caught:
        read_archive(saved(value, form=form))

    assert word in caught.value.message


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_was_cut_is_refused_wherever_it_was(form):
    data = saved({"a": torch.ones(3), "b": torch.ones(2, 2)}, form=form)

    for end in range(0, len(data), 7):
        with pytest.raises(Refused):
            read_archive(data[:end])


@pytest.mark.parametrize("form", FORMS)
def test_a_byte_that_was_changed_is_refused_or_means_the_same_names(form):
    data = saved({"a": torch.ones(3)}, form=form)

    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x41
        try:
            found = read_archive(memoryview(changed))
        except Refused:
            continue
        assert len(found) == 1


def test_damage_to_the_data_shows():
    data = bytearray(saved({"a": torch.full((3,), 1.25)}))
    at = bytes(data).find(np.full(3, 1.25, np.float32).tobytes())
    data[at] ^= 1

    with pytest.raises(Refused) as caught:
        read_archive(memoryview(data))

    assert caught.value.problem_code == "digest"


def packed(change):
    """Write an archive again, each member as `change` gives it."""
    plain = zipfile.ZipFile(io.BytesIO(saved({"a": torch.ones(3)})))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in plain.namelist():
            for again, data, options in change(name, plain.read(name)):
                archive.writestr(zipfile.ZipInfo(again), data, **options)
    return memoryview(out.getvalue())


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda n, d: [(n, d, {"compress_type": zipfile.ZIP_DEFLATED})], "packed"),
        (lambda n, d: [(n, d, {}), (n, d, {})], "twice"),
        (lambda n, d: [] if n.endswith("data/0") else [(n, d, {})], "missing"),
        (lambda n, d: [(n.replace("data.pkl", "x.pkl"), d, {})], "0 files data.pkl"),
        (lambda n, d: [(n, d, {}), (f"b/{n}", d, {})], "2 files data.pkl"),
        (lambda n, d: [(n, d, {}), (f"{n[:7]}/code/a.py", b"", {})][: 1 + ("data.pkl" in n)], "TorchScript"),
        (lambda n, d: [(n, b"big" if n.endswith("byteorder") else d, {})], "little-endian"),
        (lambda n, d: [(n, d[:8] if n.endswith("data/0") else d, {})], "12 are expected"),
    ],
)
def test_an_archive_that_torch_did_not_write_is_refused(change, word):
    with pytest.raises(Refused) as caught:
        read_archive(packed(change))

    assert word in caught.value.message


def test_the_corpus_is_read_as_torch_reads_it():
    if not corpus.has_corpus():
        pytest.skip(corpus.MISSING)
    files = sorted(corpus.CORPUS.glob("deltas/*/*/*.bin"))

    for file in files:
        want = torch.load(file, weights_only=True)

        assert_equal(read_archive(memoryview(file.read_bytes())), want)

    assert len(files) >= 20
