"""Files of deltas that other programs wrote: folders, pickles in archives, GGUF, MLX."""

from pathlib import Path

from deltareg.client.convert import gguf_file
from deltareg.client.convert.gguf_head import check_head
from deltareg.client.convert.gguf_library import gguf
from deltareg.client.convert.torch_archive.archive import read_archive
from deltareg.client.folders.folder import open_folder
from tests.fuzz.target import SCRATCH, Target, of_file


def _folder(data: bytes) -> object:
    config, _, weights = data.partition(b"\n%%%\n")
    with SCRATCH.folder() as folder:
        (folder / "adapter_config.json").write_bytes(config)
        (folder / "adapter_model.safetensors").write_bytes(weights)
        with open_folder(folder) as opened:
            assert opened.tensors is not None
    return None


def _archive(data: bytes) -> object:
    return {name: (each.dtype, bytes(each.read())[:1]) for name, each in read_archive(memoryview(data)).items()}


def _pickle(data: bytes) -> object:
    """Read an archive around a pickle."""
    import io
    import zipfile

    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        for key in "01":
            archive.writestr(f"archive/data/{key}", b"\0" * 24)
    return _archive(held.getvalue())


def _gguf(path: Path) -> object:
    """Read a file as its own library does, where its head passes."""
    check_head(path)
    library = gguf()
    try:
        reader = library.GGUFReader(path)
        values = {tensor.name: gguf_file._values(tensor) for tensor in reader.tensors}
        fields = {key: field.contents() for key, field in reader.fields.items()}
    except gguf_file._UNREADABLE:
        return None
    return len(values), len(fields)


TARGETS = (
    Target("folder", _folder, ("client.folders.folder",)),
    Target(
        "torch-archive", _archive, ("client.convert.torch_archive.archive", "client.convert.torch_archive.zip_layout")
    ),
    Target("pickle", _pickle, ("client.convert.torch_archive.machine", "client.convert.torch_archive.values")),
    Target("gguf", of_file(_gguf, "adapter.gguf"), ("client.convert.gguf_head", "client.convert.gguf_file")),
)
