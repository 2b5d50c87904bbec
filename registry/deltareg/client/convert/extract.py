"""Extract: a full fine-tune becomes a LoRA of peft, whose error is measured and stated.

The fine-tune is a version of the registry or a folder; any delta that folds will do. The LoRA is
written a module at a time and read again, as strictly as a push reads it, before it gets its name.
"""

import json
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from deltareg.client.asking.resolving import base_path, fetch_manifest, resolve_live
from deltareg.client.bases.bases import KnownBase
from deltareg.client.context import Context
from deltareg.client.convert.accounted import assess_folder
from deltareg.client.disk.kept_files import out_of_space
from deltareg.client.disk.weights_file import TensorSlot, write_header, write_stream
from deltareg.client.disk.whole_folder import is_free, place_folder
from deltareg.client.fold.version_base import open_named_base
from deltareg.client.folders.folder import Folder, open_folder
from deltareg.client.folders.near_misses import check_exists, means_folder
from deltareg.client.pull.base_fetching import fetch_base
from deltareg.client.pull.fetching import fetch, trim
from deltareg.client.pull.pulled_version import open_version
from deltareg.client.results.extract_report import ExtractReport
from deltareg.delta.extraction.extraction import ExtractedModule, Extraction, SavedBeside
from deltareg.delta.extraction.truncation import DEFAULT_ENERGY, RankChoice
from deltareg.delta.kind import Effect, Tensors
from deltareg.delta.layouts.peft.config import CONFIG_FILE
from deltareg.delta.layouts.peft.keys import PREFIX
from deltareg.delta.layouts.peft.written import LoraModule, lora_config
from deltareg.delta.merge.method import MergeSettings, ValueMethod
from deltareg.delta.merge.methods import method_named
from deltareg.delta.merge.weights import ValueMerging
from deltareg.errors import Blocked, Conflict, InvalidInput
from deltareg.refs import Ref
from deltareg.wire import BaseInfo

WEIGHTS_FILE = "adapter_model.safetensors"
_TASKS = {"ForCausalLM": "CAUSAL_LM", "LMHeadModel": "CAUSAL_LM"}
_NOTHING = SavedBeside((), {}, frozenset(), has_biases=False, keeps_ties=False)


@dataclass(frozen=True, slots=True)
class _Source:
    """A fine-tune, open, with its base.

    Attributes:
        name: The version, or the folder.
        folder: Its files.
        effects: What it does to the base.
        base: The base, with its tensors.
        base_name: What names it: its name, or the folder.
        trained_on: What the LoRA's config says of the base: `base_model_name_or_path`, `revision`.
    """

    name: str
    folder: Folder
    effects: Sequence[Effect]
    base: KnownBase
    base_name: str
    trained_on: Mapping[str, object]

    @property
    def tensors(self) -> Tensors:
        """The base's tensors."""
        assert self.base.tensors is not None
        return self.base.tensors

    def release_pages(self) -> None:
        """Take what was read of the fine-tune and its base out of this process's memory."""
        self.folder.release_pages()
        if self.base.folder is not None:
            self.base.folder.folder.release_pages()

    @property
    def size_bytes(self) -> int:
        """Bytes of the fine-tune's weights."""
        return sum(file.size_bytes for file in self.folder.contents.values() if file.header is not None)


def choose_rank(rank: int | None, energy: float | None) -> RankChoice:
    """Return how ranks are found: a rank alone is every module's, with an energy the largest.

    Raises:
        InvalidInput: A value is out of its range.
    """
    if rank is not None and rank < 1:
        raise InvalidInput(f"rank {rank} is not above 0", fix="such as --rank 16")
    if energy is None:
        energy = DEFAULT_ENERGY if rank is None else 1.0
    choice = RankChoice(energy, rank or 0)
    choice.check()
    return choice


def extract(
    context: Context, source: str | os.PathLike[str], to: Path, *, base: str | None, choice: RankChoice, keep: bool
) -> ExtractReport:
    """Write what a fine-tune changed as a LoRA.

    Args:
        context: The client's surroundings.
        source: A version, or a folder.
        to: The folder to create.
        base: The base of a folder, as a folder or a name; a version knows its own.
        choice: How the rank of each module is found.
        keep: Whether to save whole what has no factors; it is left out otherwise, and reported.

    Raises:
        Conflict: Something is already at the target.
        InvalidInput: There is no such thing as a LoRA of it, or the base is not named.
        Refused: The files are no delta of this base.
    """
    started = time.monotonic()
    if not is_free(to):
        raise Conflict(f"{to} exists and is not empty", fix="name another folder with --out")
    if to.resolve().is_relative_to(Path(source).resolve()):
        raise InvalidInput(f"{to} lies within {source}, which stays as it is", fix="name a folder beside it with --out")
    with _open_source(context, source, base) as found:
        extraction = Extraction(found.effects, found.tensors, found.base.view, choice)
        with place_folder(to) as draft, out_of_space(draft):
            modules, saved, size = _Writing(context, extraction, found, draft).write(keep=keep)
            with open_folder(draft) as written:  # as strictly as push will
                assess_folder(written, found.base)
        found.folder.check_unchanged()
        kept = [change for change in extraction.others if change.target in saved]
        left_out = [change for change in extraction.others if change.target not in saved]
        report = ExtractReport(to, found.name, found.base_name, modules, kept, left_out, size, found.size_bytes, 0.0)
    trim(context)
    return replace(report, seconds=time.monotonic() - started)


class _Writing:
    """Writing a LoRA: factors go to a file without a name until all ranks are known."""

    def __init__(self, context: Context, extraction: Extraction, source: _Source, draft: Path) -> None:
        self._context, self._extraction, self._source, self._draft = context, extraction, source, draft
        self._lora: list[LoraModule] = []  # without their numbers
        self._spooled: dict[str, tuple[TensorSlot, int]] = {}

    def write(self, *, keep: bool) -> tuple[list[ExtractedModule], frozenset[str], int]:
        """Write all files; returns the modules, what is saved whole, and the bytes of the weights."""
        with TemporaryFile(dir=self._draft) as spool:
            modules = self._spool(spool)
            factored = frozenset(module.path for module in self._lora)
            saved = self._extraction.saved_beside(factored) if keep else _NOTHING
            size = self._write_weights(spool, saved)
        config = lora_config(self._lora, trained=self._describe_training(), keeps_ties=saved.keeps_ties)
        config |= {"modules_to_save": list(saved.modules) or None, "bias": "all" if saved.has_biases else "none"}
        (self._draft / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
        return modules, saved.targets, size

    def _spool(self, spool: IO[bytes]) -> list[ExtractedModule]:
        modules: list[ExtractedModule] = []
        places = self._extraction.factored
        meter = self._context.progress.task(f"extracting from {self._source.name}", len(places))
        try:
            for place in places:
                found = self._extraction.module(place)
                if found is not None:
                    modules.append(found[0])
                    self._keep(found[1], spool)
                self._source.release_pages()
                meter.add(1)
        finally:
            meter.close()
        if not modules:
            raise InvalidInput(
                "no weight of a layer differs from the base's, so there is nothing for factors",
                fix="check --base; biases and norms alone are a delta as they are: deltareg convert PATH --out DIR",
            )
        return modules

    def _keep(self, module: LoraModule, spool: IO[bytes]) -> None:
        for name, values in module.tensors():
            self._spooled[name] = (TensorSlot(name, "F32", values.shape), spool.tell())
            spool.write(values.astype("<f4").tobytes())
        rank = module.rank
        self._lora.append(replace(module, left=np.empty((0, rank)), right=np.empty((rank, 0))))

    def _write_weights(self, spool: IO[bytes], saved: SavedBeside) -> int:
        linear = method_named("linear")
        assert isinstance(linear, ValueMethod)
        whole = ValueMerging(self._extraction.parents, self._source.tensors, method=linear, settings=MergeSettings())
        targets = {f"{PREFIX}{path}": target for path, target in saved.weights.items()}
        slots = [slot for slot, _ in self._spooled.values()]
        slots += [self._slot(name, target, whole) for name, target in targets.items()]
        slots.sort(key=lambda slot: slot.name)

        def body() -> Iterator[bytes | memoryview]:
            yield write_header(slots, {"format": "pt"})
            for slot in slots:
                if slot.name in targets:
                    yield from self._rows(targets[slot.name], whole)
                else:
                    spool.seek(self._spooled[slot.name][1])
                    yield spool.read(slot.size_bytes)

        size = sum(slot.size_bytes for slot in slots)
        meter = self._context.progress.task(f"writing {WEIGHTS_FILE}", size)
        try:
            write_stream(self._draft / WEIGHTS_FILE, body(), meter=meter)
        finally:
            meter.close()
        return size

    def _slot(self, name: str, target: str, whole: ValueMerging) -> TensorSlot:
        if target in whole.targets:
            return TensorSlot(name, whole.dtype(target), whole.shape(target))
        tensor = self._source.tensors[target]
        return TensorSlot(name, tensor.dtype, tensor.shape)

    def _rows(self, target: str, whole: ValueMerging) -> Iterator[memoryview]:
        return whole.rows(target) if target in whole.targets else iter([self._source.tensors[target].read()])

    def _describe_training(self) -> dict[str, object]:
        architecture = self._source.base.view.names.architecture
        task = next((task for end, task in _TASKS.items() if architecture.endswith(end)), None)
        return {**self._source.trained_on, "task_type": task}


@contextmanager
def _open_source(context: Context, source: str | os.PathLike[str], base: str | None) -> Generator[_Source, None, None]:
    if not isinstance(source, str) or means_folder(source) or source.startswith((".", "/")):
        with _open_local(context, Path(source), base) as found:
            yield found
        return
    if base is not None:
        raise InvalidInput(f"{source} is a version, which has its base", fix="leave --base out")
    version = resolve_live(context, Ref.parse(source), bare="newest")
    if version.is_revoked:
        raise Blocked(f"{version.ref} is revoked", fix="extract from a version that was not revoked")
    info = context.api.get(base_path(version.base.name), BaseInfo)
    with fetch_base(context, info) as own:
        pulled = fetch(context, version, fetch_manifest(context, version))
        with open_version(pulled, own.view) as opened:
            known = KnownBase(info.name, own.view, own.tensors)
            yield _Source(version.ref, opened.folder, opened.effects, known, info.name, _base_fields(info))


@contextmanager
def _open_local(context: Context, path: Path, base: str | None) -> Generator[_Source, None, None]:
    check_exists(path)
    if base is None:
        raise InvalidInput(
            f"{path} is compared with its base, and no base is named",
            fix="name it: deltareg extract PATH --out DIR --base NAME|FOLDER",
        )
    known = open_named_base(context, base)
    try:
        if known.tensors is None:
            raise InvalidInput(
                f"the weights of {known.name} are not on this machine",
                fix="name the folder that holds them with --base",
            )
        with open_folder(path) as folder:
            effects = list(assess_folder(folder, known).account.effects)
            fields = _local_fields(context, known, base)
            yield _Source(str(path), folder, effects, known, base, fields)
    finally:
        known.close()


def _local_fields(context: Context, known: KnownBase, base: str) -> dict[str, object]:
    if means_folder(base) and Path(base).is_dir():
        return {"base_model_name_or_path": str(Path(base).resolve())}
    return _base_fields(context.api.get(base_path(known.name), BaseInfo))


def _base_fields(info: BaseInfo) -> dict[str, object]:
    """Name a base as peft finds it: by its id on a hub, else by its name in the registry."""
    hub_id, _, revision = (info.hub_ids[0] if info.hub_ids else "").partition("@")
    return {"base_model_name_or_path": hub_id or info.name, **({"revision": revision} if revision else {})}
