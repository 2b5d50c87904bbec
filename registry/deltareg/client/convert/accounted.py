"""Reads a folder as the registry would, and takes the LoRA out of one that a kind can read."""

from collections.abc import Sequence

from deltareg.client.bases.bases import KnownBase
from deltareg.client.convert.lora import ConvertedLora, modules_of
from deltareg.client.convert.writing import documents
from deltareg.client.folders.folder import Folder
from deltareg.delta.delta_manifest import Assessment, assess
from deltareg.delta.examine import examine
from deltareg.delta.kind import BaseCopy, Effect, WeightUpdate
from deltareg.delta.layouts.bare_pairs.pair import PairUpdate
from deltareg.delta.layouts.peft.config import CONFIG_FILE
from deltareg.errors import InvalidInput, Refused


def assess_folder(folder: Folder, known: KnownBase) -> Assessment:
    """Assess a folder as a delta on a base.

    Raises:
        Refused: It lists everything that is wrong.
    """
    assessment = assess(folder.files, folder.tensors, known.view)
    if assessment.errors:
        raise Refused(assessment.account.problems)
    return assessment


def is_refused(folder: Folder, known: KnownBase) -> bool:
    """Whether push would refuse a folder for a base."""
    return bool(assess(folder.files, folder.tensors, known.view).errors)


def are_pairs(effects: Sequence[Effect]) -> bool:
    """Whether a delta consists of pairs with their scale in a tensor beside them, or in one."""
    return bool(effects) and all(
        isinstance(effect, WeightUpdate) and isinstance(effect.update, PairUpdate) for effect in effects
    )


def read(folder: Folder, found: Assessment, known: KnownBase) -> ConvertedLora:
    """Extract a LoRA from the account of its kind.

    Raises:
        InvalidInput: The delta does more than other layouts can express.
        Refused: The numbers are not those of a sound delta.
    """
    copies = [effect for effect in found.account.effects if isinstance(effect, BaseCopy)]
    effects = [effect for effect in found.account.effects if effect not in copies]
    if copies and known.tensors is None:
        raise InvalidInput(
            f"it holds copies of weights of {known.name}, which are not on this machine to compare",
            fix="name the folder that holds them with --base",
        )
    modules = modules_of(effects, known.view)
    problems = examine(found.account, folder.tensors, known.tensors if copies else None, folder.files)
    if problems:
        raise Refused(problems)
    config = folder.documents.get(CONFIG_FILE, {})
    trained_on = config.get("base_model_name_or_path")
    alphas = sum("lora_alpha" in effect.consumes.values() for effect in effects if isinstance(effect, WeightUpdate))
    return ConvertedLora(
        source=str(found.kind.config().get("layout", found.kind.name)),
        modules=modules,
        source_bytes=sum(f.size_bytes for f in folder.contents.values() if f.header is not None),
        effects=effects,
        documents={k: v for k, v in documents(folder).items() if k != CONFIG_FILE},
        metadata={k: v for h in folder.files.headers.values() for k, v in h.metadata.items()},
        trained_on=trained_on if isinstance(trained_on, str) else "",
        left_out=(
            *((f"{alphas} tensors .alpha (now in {CONFIG_FILE})",) if alphas else ()),
            *(f"{effect.tensor.name} (a copy of the base's)" for effect in copies),
        ),
    )
