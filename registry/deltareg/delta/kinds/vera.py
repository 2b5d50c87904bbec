"""VeRA: one pair of random matrices for all modules, and two vectors for each.

W' = W + diag(b) B diag(d) A (Kopiczko et al. 2023, arXiv 2310.11454, equation 2), with the leading
rows of B and columns of A that fit the module. A and B must have been saved: drawn again on another
machine they differ in the last bit.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import ScaledCorner, check_rank, layer, low_rank, sizes


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the config.

    Attributes:
        r: The rank.
    """

    r: int


def read(fields: Fields) -> Settings:
    """Read the rank; refuse a delta without its projections."""
    fields.ignore("d_initial", "init_weights", "projection_prng_key", "vera_dropout")
    fields.refuse_unsaved_projection()
    return Settings(fields.integer("r", 256))


def effects(site: Site, settings: Settings) -> Iterable[Effect]:
    """Add the product of the two scaled corners to the weight."""
    (n_out,), (rank,) = sizes(site, "lambda_b", 1), sizes(site, "lambda_d", 1)
    a, b = sizes(site, "projection_A"), sizes(site, "projection_B")
    check_rank(site, (rank, a[0], b[1]), settings.r)
    n_in = layer(site)[1]
    if a[1] < n_in or b[0] < n_out:
        raise site.refuse("shape", f"A {list(a)} and B {list(b)} are too small for {site.target}")
    left = ScaledCorner(site.tensors["projection_B"], site.tensors["lambda_b"], n_out, rank)
    right = ScaledCorner(site.tensors["projection_A"], site.tensors["lambda_d"], rank, n_in)
    yield site.changes(low_rank(site, left, right, out_in=(n_out, n_in), scale=1.0))


VERA = PeftKind(
    "lora",
    "vera",
    "VERA",
    {("vera_lambda_b", ""): "lambda_b", ("vera_lambda_d", ""): "lambda_d"},
    read,
    effects,
    shared={"vera_A": "projection_A", "vera_B": "projection_B"},
)
