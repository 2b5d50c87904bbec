"""Convert: a folder in a layout that push refuses, or could store smaller, written in another.

Pickles become safetensors, names lose the wrappers of a training process, a LoRA of another class
or release gets the names of its base, LoRA files of image trainers become LoRA as peft writes it,
and a full fine-tune that hardly differs from its base becomes what differs. What is written is
proved against what was read before it gets its name.
"""

from pathlib import Path

from deltareg.client.bases.bases import KnownBase
from deltareg.client.context import Context
from deltareg.client.disk.kept_files import out_of_space
from deltareg.client.disk.whole_folder import is_free, placed
from deltareg.client.fold.version_base import open_named_base
from deltareg.client.folders.folder import Folder, open_folder
from deltareg.client.push.convert import differences, pairs, pickles, spellings, wrappers
from deltareg.client.push.convert.writing import Conversion, write
from deltareg.client.results.reports import ConvertReport
from deltareg.delta.delta_manifest import Assessment, assess
from deltareg.delta.kinds import holds_results
from deltareg.errors import Conflict, InvalidInput, Refused


def convert(context: Context, path: Path, to: Path, *, base: str | None = None) -> ConvertReport:
    """Write a folder in another layout.

    Args:
        context: The client's surroundings.
        path: The folder, or one file.
        to: The new folder.
        base: The base, as a folder or a name; pickles and names with wrappers do not need it.

    Raises:
        Conflict: There is something at the target.
        Refused: The files hold something other than a delta.
        InvalidInput: There is nothing to convert, or nothing to gain.
        IntegrityFailure: What was written is not what was read.
    """
    if not is_free(to):
        raise Conflict(f"{to} exists and is not empty", fix="name another folder with --to")
    with open_folder(path, purpose="conversion") as folder:
        if pickles.names(folder):
            return _write(context, to, pickles.plan(folder), folder)
        if wrappers.are_in(folder):
            return _write(context, to, wrappers.plan(folder), folder)
        if base is None:
            raise InvalidInput(
                f"{path} holds no pickle, and anything else is converted by the base's names",
                fix="name it: deltareg convert PATH --to DIR --base NAME|FOLDER",
            )
        known = open_named_base(context, base)
        try:
            return _write(context, to, _plan(folder, known), folder, known)
        finally:
            known.close()


def _plan(folder: Folder, known: KnownBase) -> Conversion:
    found = assess(folder.files, folder.tensors, known.view)
    if found.errors and (paths := spellings.moved(folder, known.view)):
        return spellings.plan(folder, paths)
    if found.errors:
        raise Refused(found.account.problems)
    if pairs.are_in(found.account.effects):
        return pairs.plan(folder, found, known)
    if holds_results(found.kind.name):
        if known.tensors is None:
            raise InvalidInput(
                f"the weights of {known.name} are not on this machine",
                fix="name the folder that holds them with --base",
            )
        return differences.plan(folder, found, known.tensors)
    raise InvalidInput(
        f"it is a delta of kind {found.kind.name} already, in a layout that push takes",
        fix="deltareg push PATH NS/NAME --base BASE",
    )


def _assessed(folder: Folder, known: KnownBase) -> Assessment:
    found = assess(folder.files, folder.tensors, known.view)
    if found.errors:
        raise Refused(found.account.problems)
    return found


def _write(
    context: Context,
    to: Path,
    conversion: Conversion,
    folder: Folder,
    known: KnownBase | None = None,
) -> ConvertReport:
    meter = context.progress.task(f"converting {folder.path.name}", conversion.size_bytes)
    try:
        with placed(to) as draft, out_of_space(draft):
            write(draft, conversion, meter)
            with open_folder(draft) as written:  # as strictly as push will
                if known is not None:
                    conversion.prove(_assessed(written, known))
            folder.check_unchanged()
    finally:
        meter.close()
    return ConvertReport(
        to, conversion.source, conversion.result, sorted(conversion.files),
        sum(map(len, conversion.files.values())), conversion.size_bytes, conversion.source_bytes,
        [*folder.left_out, *conversion.left_out],
    )  # fmt: skip
