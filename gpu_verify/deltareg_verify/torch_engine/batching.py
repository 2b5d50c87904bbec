"""A network called in the ways that servers call it: alone and beside others, padded, with a cache.

Each way is held against the plain one, in which a short text goes through alone. A base may differ
from itself, too: one without positions of its own in padded rows, or whose experts are chosen by
batch.
Every forward reads all weights, so there are few: six, of some tokens each.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from deltareg_verify.torch_engine.general import Run, padded

LENGTHS = (4, 6, 5, 6)
"""How many tokens the texts of the batch have: the first meets the most padding."""
_OUTPUTS = ("logits", "last_hidden_state", "sentence_embedding", "pooler_output")
# What networks say of inputs that they do not take.
_REFUSALS = (
    RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError,
)  # fmt: skip
Continue = Callable[[torch.Tensor, object], tuple[Mapping[str, object], object]]


@dataclass(frozen=True, slots=True)
class Ways:
    """What a network can be asked to do.

    Attributes:
        pad: The token that stands where nothing is read.
        device: Where it runs.
        beside: Other inputs for a batch of such ids.
        pads_left: Whether padding may stand before a text.
        continues: Runs with a cache: it is given ids and what the call before gave; None where
            there is no cache to use.
        farthest: The last position that it knows; 0 where it is told no positions.
    """

    pad: int
    device: torch.device
    beside: Callable[[torch.Tensor], Mapping[str, torch.Tensor]]
    pads_left: bool = False
    continues: Continue | None = None
    farthest: int = 0


@dataclass(frozen=True, slots=True)
class _Plain:
    """Rows of tokens, what the first gave alone, and how large that is."""

    rows: Sequence[Sequence[int]]
    alone: torch.Tensor
    scale: float

    @property
    def text(self) -> Sequence[int]:
        """The text that goes through alone."""
        return self.rows[0]

    def largest(self, *pairs: tuple[torch.Tensor, torch.Tensor]) -> float:
        """Give the largest difference as a share of the outputs' size; NaN where one is NaN."""
        worst = [float((one - other).abs().max()) for one, other in pairs]
        return float(torch.tensor(worst).max()) / self.scale


def deviations(
    texts: Sequence[Sequence[int]],
    run: Run,
    ways: Ways,
    *,
    only: Collection[str] | None = None,
) -> dict[str, float]:
    """Give by way the largest difference from the plain one, as a share of the outputs' size.

    Args:
        texts: The tokens of as many texts as the batch has, each at least as long as the longest.
        run: Runs the network.
        ways: What it can be asked to do.
        only: The ways to try; None tries all, and leaves out those that the network refuses.
    """
    rows = [list(text[:length]) for text, length in zip(texts, LENGTHS, strict=True)]
    alone = _output(run(_inputs(rows[:1], ways)), len(rows[0]))[0]
    plain = _Plain(rows, alone, max(1.0, float(alone.double().square().mean().sqrt())))
    found: dict[str, float] = {}
    for called, way in _WAYS.items():
        if only is not None and called not in only:
            continue
        try:
            deviation = way(plain, run, ways)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except _REFUSALS:
            if only is not None:  # the base did it
                raise
            continue
        if deviation is not None:
            found |= {called: deviation}
    return found


def _in_batch(plain: _Plain, run: Run, ways: Ways) -> float:
    """Beside others, padded on the right."""
    found = _output(run(_inputs(plain.rows, ways)), max(LENGTHS))[0]
    return plain.largest((plain.alone, found if found.ndim == 1 else found[: len(plain.alone)]))


def _padded_left(plain: _Plain, run: Run, ways: Ways) -> float | None:
    if not ways.pads_left:
        return None
    given = _inputs(plain.rows[:2], ways, on_left=True)
    if ways.farthest:  # as `generate` numbers them
        given["position_ids"] = (given["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    found = _output(run(given), max(LENGTHS))[0]
    return plain.largest((plain.alone, found[-len(plain.alone) :]))


def _cached(plain: _Plain, _run: Run, ways: Ways) -> float | None:
    """The last token alone, with what is kept of those before."""
    if ways.continues is None:
        return None
    ids = torch.tensor([list(plain.text)], dtype=torch.long, device=ways.device)
    before, cache = ways.continues(ids[:, :-1], None)
    last, _ = ways.continues(ids[:, -1:], cache)
    pairs = ((plain.alone[-2], _output(before, 1)[0, 0]), (plain.alone[-1], _output(last, 1)[0, 0]))
    return plain.largest(*pairs)


def _at_the_end(plain: _Plain, run: Run, ways: Ways) -> float | None:
    """At the last positions that the network knows."""
    length = len(plain.text)
    if ways.farthest <= length:
        return None
    last = torch.arange(ways.farthest - length, ways.farthest, device=ways.device)
    found = _output(run({**_inputs(plain.rows[:1], ways), "position_ids": last[None]}), length)
    return plain.largest((plain.alone, found[0]))


_WAYS: Mapping[str, Callable[[_Plain, Run, Ways], float | None]] = {
    "batch": _in_batch, "padded_left": _padded_left, "cache": _cached, "longest": _at_the_end,
}  # fmt: skip


def _inputs(
    rows: Sequence[Sequence[int]], ways: Ways, *, on_left: bool = False
) -> dict[str, torch.Tensor]:
    ids, mask = padded(rows, pad=ways.pad, device=ways.device, on_left=on_left)
    return {"input_ids": ids, "attention_mask": mask, **ways.beside(ids)}


def _output(result: Mapping[str, object], length: int) -> torch.Tensor:
    """Give what is compared: (rows, places, values), or (rows, values) of what has no places."""
    for name in _OUTPUTS:
        value = result.get(name)
        if isinstance(value, torch.Tensor):
            value = value.float()
            return value[:, -length:] if value.ndim == 3 else value
    raise LookupError("the network gives nothing that could be compared")
