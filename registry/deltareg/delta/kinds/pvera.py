"""PVeRA: VeRA whose hidden values have a mean and a spread; applied by the mean.

W' = W + diag(b) B diag(d) A with the first half of d and of A's rows (arXiv 2512.07703). A and B
serve all modules, by their leading rows and columns, and must have been saved.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import ScaledCorner, check_rank, low_rank, sizes


@dataclass(frozen=True, slots=True)
class Pvera:
    """Settings of the config.

    Attributes:
        r: The rank; half of the rows of A.
    """

    r: int


def read(fields: Fields) -> Pvera:
    """Read the rank; refuse a delta without its projections, or one that samples at random."""
    fields.ignore("d_initial", "generator_seed", "init_weights", "projection_prng_key", "pvera_dropout")
    fields.refuse_unsaved_projection()
    if fields.flag("sample_at_inference"):
        fields.refuse(
            "sample_at_inference",
            "draws other values at every forward, so the delta does nothing that can be checked",
            fix="set sample_at_inference to false: the mean is used",
        )
    return Pvera(fields.integer("r", 256))


def effects(site: Site, settings: Pvera) -> Iterable[Effect]:
    """Add the product of the two scaled corners to the weight."""
    (n_out,), (height,) = sizes(site, "lambda_b", 1), sizes(site, "lambda_d", 1)
    a, b = sizes(site, "projection_A"), sizes(site, "projection_B")
    check_rank(site, (b[1],), settings.r)
    check_rank(site, (height, a[0]), 2 * settings.r)
    n_in = site.out_in()[1]
    if a[1] < n_in or b[0] < n_out:
        raise site.refuse("shape", f"A {list(a)} and B {list(b)} are too small for {site.target}")
    left = ScaledCorner(site.tensors["projection_B"], site.tensors["lambda_b"], n_out, settings.r)
    right = ScaledCorner(site.tensors["projection_A"], site.tensors["lambda_d"], settings.r, n_in)
    yield site.changes(low_rank(site, left, right, out_in=(n_out, n_in), scale=1.0))


PVERA = PeftKind(
    "lora",
    "pvera",
    "PVERA",
    {("pvera_lambda_b", ""): "lambda_b", ("pvera_lambda_d", ""): "lambda_d"},
    read,
    effects,
    shared={"pvera_A": "projection_A", "pvera_B": "projection_B"},
)
