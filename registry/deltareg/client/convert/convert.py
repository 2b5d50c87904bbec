"""Convert: writes a folder in a layout that push refuses, or could store smaller, in another.

Pickles become safetensors, names lose the wrappers of a training process, a LoRA (or IA3, LoKr, …) of another
class or release gets the names of its base, LoRAs of image trainers, MLX and llama.cpp become LoRAs as
peft writes them, and a full fine-tune that hardly differs from its base is reduced to what differs.
The other direction writes MLX and llama.cpp. The result is proved against the source before it gets
its name.
"""

from pathlib import Path

from deltareg.client.bases.bases import KnownBase
from deltareg.client.context import Context
from deltareg.client.convert import accounted, differences, gguf_file, pickles, spellings, wrappers
from deltareg.client.convert.layouts import PUSHED, WRITERS, check_layout, plan_of_foreign
from deltareg.client.convert.writing import Conversion, write
from deltareg.client.disk.kept_files import out_of_space
from deltareg.client.disk.whole_folder import is_free, place_folder
from deltareg.client.fold.version_base import open_named_base
from deltareg.client.folders.folder import Folder, open_folder
from deltareg.client.results.reports import ConvertReport
from deltareg.delta.kinds import holds_results
from deltareg.errors import Conflict, InvalidInput

_ELSEWHERE = "name a folder beside it with --out"


def convert(context: Context, path: Path, to: Path, *, base: str | None = None, layout: str = PUSHED) -> ConvertReport:
    """Write a folder in another layout.

    Args:
        context: The client's surroundings.
        path: The source folder, or a single file.
        to: The folder to create.
        base: The base, as a folder or a name; pickles and names with wrappers do not need it.
        layout: The target layout: `peft`, which push accepts, or another one of `layouts.WRITERS`.

    Raises:
        Conflict: Something is already at the target.
        Refused: The files hold something other than a delta.
        InvalidInput: There is nothing to convert, nothing to gain, or no exact form of it.
        IntegrityFailure: The result is not equal to the source.
    """
    check_layout(layout, to)
    if not is_free(to):
        raise Conflict(f"{to} exists and is not empty", fix="name another folder with --out")
    if to.resolve().is_relative_to(path.resolve()):
        raise InvalidInput(f"{to} lies within {path}, which stays as it is", fix=_ELSEWHERE)
    file = gguf_file.find_gguf(path)
    if file is not None:
        with _Based(context, path, base) as known:
            return _write(context, to, WRITERS[layout](gguf_file.read(file, known), known), known)
    with open_folder(path, purpose="conversion") as folder:
        if pickles.names(folder):
            _check_pushed(layout, "pickles")
            return _write(context, to, pickles.plan(folder), None, folder)
        if wrappers.are_in(folder):
            _check_pushed(layout, "names with wrappers")
            return _write(context, to, wrappers.plan(folder), None, folder)
        with _Based(context, path, base) as known:
            return _write(context, to, _plan(folder, known, layout), known, folder)


def _check_pushed(layout: str, what: str) -> None:
    if layout != PUSHED:
        raise InvalidInput(
            f"it holds {what}, which are taken out first, and {layout} is made of what comes of it",
            fix="first: deltareg convert PATH --out DIR, then convert DIR",
        )


class _Based:
    """The base that a conversion goes by, open while it takes place."""

    def __init__(self, context: Context, path: Path, base: str | None) -> None:
        if base is None:
            raise InvalidInput(
                f"what {path} holds is converted by the names of its base, and no base is named",
                fix="name it: deltareg convert PATH --out DIR --base NAME|FOLDER",
            )
        self._known = open_named_base(context, base)

    def __enter__(self) -> KnownBase:
        """Open the base and return it."""
        return self._known

    def __exit__(self, *_: object) -> None:
        """Close its folder."""
        self._known.close()


def _plan(folder: Folder, known: KnownBase, layout: str) -> Conversion:
    foreign = plan_of_foreign(folder, known, layout)
    if foreign is not None:
        return foreign
    if layout == PUSHED and accounted.is_refused(folder, known):
        paths = spellings.find_moved(folder, known.view)
        if paths:
            return spellings.plan(folder, paths)
    assessment = accounted.assess_folder(folder, known)
    if layout != PUSHED:
        return WRITERS[layout](accounted.read(folder, assessment, known), known)
    if accounted.are_pairs(assessment.account.effects):
        return WRITERS[layout](accounted.read(folder, assessment, known), known)
    if holds_results(assessment.kind.name):
        if known.tensors is None:
            raise InvalidInput(
                f"the weights of {known.name} are not on this machine",
                fix="name the folder that holds them with --base",
            )
        return differences.plan(folder, assessment, known.tensors)
    raise InvalidInput(
        f"it is a delta of kind {assessment.kind.name} already, in a layout that push takes",
        fix="deltareg push PATH NS/NAME --base BASE",
    )


def _write(
    context: Context, to: Path, conversion: Conversion, known: KnownBase | None, folder: Folder | None = None
) -> ConvertReport:
    meter = context.progress.task(f"converting to {to.name}", conversion.size_bytes)
    try:
        with place_folder(to) as draft, out_of_space(draft):
            write(draft, conversion, meter)
            _prove(draft, conversion, known)
            if folder is not None:
                folder.check_unchanged()
    finally:
        meter.close()
    return ConvertReport(
        to,
        conversion.source,
        conversion.result,
        conversion.names,
        conversion.tensors,
        conversion.size_bytes,
        conversion.source_bytes,
        [*(folder.left_out if folder else ()), *conversion.left_out],
    )


def _prove(draft: Path, conversion: Conversion, known: KnownBase | None) -> None:
    if conversion.reread is not None:
        conversion.reread(draft)
        return
    with open_folder(draft) as result:  # as strictly as push will
        if known is not None:
            conversion.prove(accounted.assess_folder(result, known))
