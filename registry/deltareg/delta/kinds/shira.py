"""SHiRA: a few single weights change, each by a number of its own.

W' = W + S with S zero but for `shira_indices` (Bhardwaj et al. 2024, arXiv 2406.13175).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.rotations import inputs_of
from deltareg.delta.layouts.peft.scatter import ScatterAdd


@dataclass(frozen=True, slots=True)
class Shira:
    """Settings of the config.

    Attributes:
        r: The rank of a LoRA with as many parameters: r · (n_out + n_in) weights of a layer change.
    """

    r: int


def read(fields: Fields) -> Shira:
    """Read the count; how the places were chosen does not matter, since they are stored."""
    fields.ignore("mask_type", "random_seed", "init_weights")
    return Shira(fields.integer("r", 32))


def effects(site: Site, settings: Shira) -> Iterable[Effect]:
    """Add the stored values at their places."""
    inputs_of(site)
    values, places = site.tensors["shira_weight"], site.tensors["shira_indices"]
    if len(site.shape) != 2:
        raise site.refuse("shape", f"{site.target} {list(site.shape)} is no linear layer's")
    if places.dtype.startswith("F"):
        raise site.refuse(
            "bad_config",
            "its indices are stored as real numbers, as the library does on Windows",
            "shira_indices",
            fix="save the delta again under Linux or macOS, which write whole numbers",
        )
    height, width = site.shape
    count = settings.r * (height + width)
    if values.shape != (count,) or places.shape != (2, count):
        message = f"{list(values.shape)} and {list(places.shape)} are not the {count} weights"
        raise site.refuse("rank", f"{message} that r = {settings.r} means here", "shira_weight")
    yield site.changes(ScatterAdd(values, places, (height, width)))


SHIRA = PeftKind(
    "sparse",
    "shira",
    "SHIRA",
    {("shira_weight", ""): "shira_weight", ("shira_indices", ""): "shira_indices"},
    read,
    effects,
)
