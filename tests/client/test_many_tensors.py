"""A push looks at each tensor as often among many as among few: counted in lines and statements, not timed."""

import sys
from pathlib import Path

import pytest

import deltareg
from deltareg.client.folders.folder import open_delta
from deltareg.identity.manifest import Manifest
from deltareg.identity.pack_spans import cold_bytes
from deltareg.identity.storage_map import StorageMap
from deltareg.service.lines.alike import marks_of
from deltareg.service.push.places import marks_of as piece_marks_of
from deltareg.service.push.shares import measure
from tests import tiny
from tests.service.rows import asked

_OURS = str(Path(deltareg.__file__).parent)
_CODEC = str(Path(deltareg.__file__).parent / "codec")
_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_LAYERS = (2, 4, 8)
"""Layers of 14 tensors; what the second half adds is held against what the first did."""
_SLACK = 1.01


class Counted:
    """A line with two versions of so many layers, and what the second push and the reading of it took."""

    def __init__(self, server, folder, layers):
        base = tiny.base(folder / "base", layers=layers)
        self.paths = [tiny.lora(folder / f"v{n}", base, seed=n, targets=_TARGETS).path for n in (1, 2)]
        client = server.client()
        client.bases.register(base.path, f"of-{layers}")
        line = f"many/of-{layers}"
        client.push(self.paths[0], line, base=f"of-{layers}")
        with asked(server.registry.engine) as statements:
            self.pushing = lines_run(lambda: client.push(self.paths[1], line, base=f"of-{layers}"))
        self.statements = len(statements)
        http = server.http(server.admin_token)
        path = f"/deltas/{line}/versions/2"
        self.manifest, self.storage = (http.get(f"{path}/{name}").content for name in ("manifest", "storage"))
        self.keeping = lines_run(self._keep)

    def _keep(self):
        """Do what the server does with the documents of a push."""
        manifest, storage = Manifest.decode(self.manifest), StorageMap.decode(self.storage)
        storage.check_covers(manifest, [])
        assert measure(manifest, storage)
        assert cold_bytes(manifest, storage) > 0
        assert piece_marks_of(manifest, storage)
        assert marks_of(manifest, None).marks


@pytest.fixture(scope="module")
def counted(shared_registry, tmp_path_factory):
    return [Counted(shared_registry, tmp_path_factory.mktemp(f"of-{layers}"), layers) for layers in _LAYERS]


def lines_run(function):
    """Call a function, and count the lines of this package that this thread runs meanwhile.

    Those of the codecs are left out: they see one tensor, and spend lines by its values.
    """
    count = 0

    def within(_frame, event, _):
        nonlocal count
        count += event == "line"
        return within

    def is_counted(file):
        return file.startswith(_OURS) and not file.startswith(_CODEC)

    before = sys.gettrace()
    sys.settrace(lambda frame, *_: within if is_counted(frame.f_code.co_filename) else None)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("work", ["pushing", "keeping"])
def test_a_tensor_takes_as_much_among_many(counted, work):
    few, more, many = (getattr(each, work) for each in counted)

    a_tensor, among_many = (more - few) / (14 * 2), (many - more) / (14 * 4)

    assert 0 < among_many < _SLACK * a_tensor


def test_statements_of_a_push_do_not_grow_with_its_tensors(counted):
    few, _, many = counted

    assert many.statements == few.statements


def test_one_tensor_is_found_without_a_look_at_the_others(counted):
    with open_delta(counted[-1].paths[1]) as folder:
        (path, file) = next(item for item in folder.contents.items() if item[1].header is not None)
        all_of_it = folder.tensors_of(path)
        looks = [lines_run(lambda name=name: file.tensor(name)) for name in all_of_it]

        assert {name: bytes(file.tensor(name).data) for name in all_of_it} == {
            name: bytes(tensor.data) for name, tensor in all_of_it.items()
        }
        assert set(looks) == {looks[0]}
