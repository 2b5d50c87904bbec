"""The two forms of torch's files: a zip archive, and the older row of pickles before the data."""

from collections.abc import Mapping
from typing import cast

from deltareg.client.convert.torch_archive.instructions import carry_out
from deltareg.client.convert.torch_archive.machine import PickleMachine
from deltareg.client.convert.torch_archive.values import (
    ArchiveTensor,
    TensorView,
    TorchStorage,
    bytes_of,
    is_index,
    make_refusal,
)
from deltareg.client.convert.torch_archive.zip_layout import ArchiveMember, members
from deltareg.tensors.header import ITEM_BYTES

_ZIP = b"PK\x03\x04"
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_LARGEST_PICKLE = 32 << 20
_COUNT_BYTES = 8
# A tensor that many layers share is written for each of them; beyond this it is no network.
_MOST_COPIES = 128


def read_archive(data: memoryview) -> dict[str, ArchiveTensor]:
    """Read the tensors of a file that torch wrote; nothing in it is executed.

    Args:
        data: The whole file, which has to stay mapped while the tensors are used.

    Returns:
        The tensors by name. Those that share a storage share it here too.

    Raises:
        Refused: `pickle` when it is anything but a dictionary of tensors, `truncated`, `digest`,
            `limits`, `header`.
    """
    if bytes(data[: len(_ZIP)]) == _ZIP:
        value, storages = _read_zip(data)
    else:
        value, storages = _in_a_row(data)
    views = _views(value)
    size = sum(_size(view) for view in views.values())
    if size > _MOST_COPIES * len(data):
        raise make_refusal(f"its tensors are {size} bytes, and it has {len(data)}", "limits")
    return {name: ArchiveTensor(name, view, bytes_of(storages, view.storage)) for name, view in views.items()}


def _read_zip(data: memoryview) -> tuple[object, Mapping[str, memoryview]]:
    archive_members = members(data)
    pickles = [name for name in archive_members if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise make_refusal(f"a zip archive with {len(pickles)} files data.pkl is none that torch wrote")
    root = pickles[0].removesuffix("data.pkl")
    if any(name.startswith(f"{root}code/") for name in archive_members):
        raise make_refusal("it holds a program (TorchScript)")
    order = archive_members.get(f"{root}byteorder")
    if order is not None and bytes(order.check()) != b"little":
        raise make_refusal("its numbers are not little-endian")
    machine = PickleMachine(_check_size(archive_members[pickles[0]].check()))
    value = carry_out(machine)
    return value, {key: _member(archive_members, f"{root}data/{key}") for key in machine.storages}


def _member(found: Mapping[str, ArchiveMember], name: str) -> memoryview:
    if name not in found:
        raise make_refusal(f"{name[:80]!r} is missing from the archive", "truncated")
    return found[name].check()


def _in_a_row(data: memoryview) -> tuple[object, Mapping[str, memoryview]]:
    """Read the older form: magic number, version, machine note, tensors, keys, data."""
    first = PickleMachine(data[:_LARGEST_PICKLE])
    if carry_out(first) != _MAGIC:
        raise make_refusal("it does not begin as a file of torch does")
    version = _next(data, first)
    if carry_out(version) != _VERSION:
        raise make_refusal("it is of a version of torch's files that is not known here")
    note = _next(data, version)
    machine_note = carry_out(note)
    if type(machine_note) is not dict or cast("dict[object, object]", machine_note).get("little_endian") is not True:
        raise make_refusal("its numbers are not little-endian")
    machine = _next(data, note)
    value = carry_out(machine)
    keys = _next(data, machine)
    return value, _data_behind(data, keys, machine.storages)


def _data_behind(
    data: memoryview, keys: PickleMachine, storages: Mapping[str, TorchStorage]
) -> Mapping[str, memoryview]:
    storage_keys = carry_out(keys)
    names = cast("list[object]", storage_keys) if type(storage_keys) is list else []
    by_key: dict[str, memoryview] = {}
    position = keys.position
    for key in names:
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None or storage.key in by_key:
            raise make_refusal("it lists data that no tensor uses, or some twice")
        begin = position + _COUNT_BYTES
        count = int.from_bytes(data[position:begin], "little")
        if count != storage.elements or not is_index(count):
            raise make_refusal(f"storage {storage.key} has {count} elements, {storage.elements} are expected")
        position = begin + count * ITEM_BYTES[storage.dtype]
        by_key[storage.key] = data[begin:position]
    if position != len(data):
        code = "truncated" if position > len(data) else "trailing_bytes"
        raise make_refusal(f"it has {len(data)} bytes, {position} are expected", code)
    return by_key


def _views(value: object) -> dict[str, TensorView]:
    if type(value) is not dict:
        raise make_refusal(f"it holds a {type(value).__name__}, and not a dictionary of tensors")
    views: dict[str, TensorView] = {}
    for name, view in cast("dict[str, object]", value).items():
        if not isinstance(view, TensorView):
            raise make_refusal(f"{name[:80]!r} is a {type(view).__name__}, and only tensors are read")
        views[name] = view
    if not views:
        raise make_refusal("it holds no tensor", "empty")
    return views


def _size(view: TensorView) -> int:
    size = ITEM_BYTES[view.storage.dtype]
    for dim in view.shape:
        size *= dim
    return size


def _next(data: memoryview, before: PickleMachine) -> PickleMachine:
    """Begin where another pickle ended, with a limit on its length."""
    return PickleMachine(data[: before.position + _LARGEST_PICKLE], before.position)


def _check_size(pickle: memoryview) -> memoryview:
    if len(pickle) > _LARGEST_PICKLE:
        raise make_refusal(f"its pickle has {len(pickle)} bytes, at most {_LARGEST_PICKLE}", "limits")
    return pickle
