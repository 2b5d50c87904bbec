"""How far apart a network keeps different inputs: its vectors, and its class predictions."""

# torch is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping

import torch

from deltareg_verify.messages.figures import ClassFigures, VectorSpread

_MOST_OUTPUTS, _MOST_VALUES, _MOST_ROWS = 4, 1 << 22, 64
_NO_VECTORS = ("loss", "logits_per", "attentions", "past_key_values")


def classes_of(
    logits: torch.Tensor, mask: torch.Tensor | None = None, *, of_frames: bool = False
) -> ClassFigures | None:
    """Measure how a network predicts classes; None with fewer than two classes or only one input.

    Args:
        logits: (rows, classes), or (rows, places, classes).
        mask: (rows, places): which places are not padding.
        of_frames: Whether the places are frames of recordings.
    """
    if logits.ndim == 3:
        is_masked = mask is not None and mask.shape == logits.shape[:2]
        logits = logits[mask == 1] if is_masked else logits.flatten(0, 1)
    if logits.ndim != 2 or logits.shape[1] < 2 or logits.shape[0] < 2:
        return None
    scores = logits.double()
    logs = scores.log_softmax(-1)
    mean_share = logs.exp().mean(0)
    scores = scores - scores.mean(-1, keepdim=True)
    size = scores.square().mean().sqrt()
    apart = (scores - scores.mean(0, keepdim=True)).square().mean().sqrt()
    return ClassFigures(
        logits.shape[1],
        float(torch.special.entr(mean_share).sum()),
        float(torch.special.entr(logs.exp()).sum(-1).mean()),
        float(apart / size) if float(size) else 0.0,
        of_frames,
    )


def spreads_of(result: Mapping[str, object], mask: torch.Tensor | None) -> dict[str, VectorSpread]:
    """Measure the vectors that a network returns for its inputs, by output.

    Args:
        result: The network's outputs.
        mask: (rows, places): which places are not padding; None where there is none.
    """
    spreads: dict[str, VectorSpread] = {}
    for name, value in result.items():
        if name.startswith(_NO_VECTORS) or not isinstance(value, torch.Tensor) or len(spreads) == _MOST_OUTPUTS:
            continue
        is_rows = value.ndim > 1 and 1 < value.shape[0] <= _MOST_ROWS
        if value.is_floating_point() and is_rows and value.numel() <= _MOST_VALUES:
            rows = _pool_rows(value, mask)
            if rows.shape[1] > 1:  # one number has a sign and no direction
                spreads[name] = _spread(rows)
    return spreads


def _pool_rows(value: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return one vector per row: the mean over the places of a text, or all values of an image."""
    value = value.double()
    if value.ndim != 3:
        return value.flatten(1)
    if mask is not None and mask.shape == value.shape[:2]:
        weights = mask[:, :, None].double()
        return (value * weights).sum(1) / weights.sum(1).clamp(min=1)
    return value.mean(1)


def _spread(rows: torch.Tensor) -> VectorSpread:
    sizes = rows.norm(dim=1)
    directions = rows / sizes.clamp(min=1e-30)[:, None]
    count = rows.shape[0]
    # The sum of all cosines is the square of the sum of the directions; those with itself are one.
    all_pairs = directions.sum(0).square().sum() - directions.square().sum()
    apart = 1 - all_pairs / (count * (count - 1))
    return VectorSpread(float(apart.clamp(min=0)), float(sizes.square().mean().sqrt()))
