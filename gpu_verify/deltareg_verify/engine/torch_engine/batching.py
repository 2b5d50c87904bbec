"""Calls a network in the ways that servers do: alone and beside others, padded, with a cache.

Each way is compared with the plain one, in which a short text goes through alone. A base may differ
from itself, too: one without positions of its own in padded rows, or whose experts are chosen by
batch.

Every forward reads all weights, so there are few, of some tokens each, and one covers two ways
where possible: the plain call of a network with a cache keeps it for the next token, which is
compared with the same token in the batch. Where a network takes positions, one batch has the text
three times beside another: padded on the right, padded on the left, and at the last positions.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from deltareg_verify.engine.torch_engine.general import Run, pad_rows

LENGTHS = (4, 6, 5, 6)
"""How many tokens the texts of the batch have: the first meets the most padding."""
BATCH, LEFT, CACHE, LONGEST = WAYS = ("batch", "padded_left", "cache", "longest")
_OUTPUTS = ("logits", "last_hidden_state", "sentence_embedding", "pooler_output")
# What networks say of inputs that they do not take.
_REFUSALS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)
Found = TypeVar("Found")
Continue = Callable[[torch.Tensor, object], tuple[Mapping[str, object], object]]


@dataclass(frozen=True, slots=True)
class BatchCapabilities:
    """The ways in which a network can be called.

    Attributes:
        pad: The padding token.
        device: The device that it runs on.
        beside: Returns the other inputs for a batch of such ids.
        pads_left: Whether padding may stand before a text.
        continues: Runs with a cache, on ids and the result of the call before; None where there is
            no cache to use.
        farthest: The last position that it knows; 0 where it takes no positions.
        is_apart: Whether the positions of one row leave the others alone, so that all ways fit in a batch.
    """

    pad: int
    device: torch.device
    beside: Callable[[torch.Tensor], Mapping[str, torch.Tensor]]
    pads_left: bool = False
    continues: Continue | None = None
    farthest: int = 0
    is_apart: bool = True


@dataclass(frozen=True, slots=True)
class _Plain:
    """The outputs for a text that goes through alone.

    Attributes:
        rows: The tokens of all texts; the first is the one that went alone.
        alone: Its outputs: (places, values), or (values,) without places. With a cache the last
            token is left out.
        scale: The size of these outputs.
        cache: The cache for the last token; None without one.
    """

    rows: Sequence[Sequence[int]]
    alone: torch.Tensor
    scale: float
    cache: object = None

    def deviation(self, found: torch.Tensor) -> float:
        """Compare another way's outputs for the whole text with these."""
        return self.share(self.alone, found if found.ndim == 1 else found[: len(self.alone)])

    def share(self, one: torch.Tensor, other: torch.Tensor) -> float:
        """Return the largest difference as a share of the outputs' size; NaN where one is NaN."""
        return float((one - other).abs().max()) / self.scale


def deviations(
    texts: Sequence[Sequence[int]], run: Run, ways: BatchCapabilities, *, only: Collection[str] | None = None
) -> dict[str, float]:
    """Return by way the largest difference from the plain one, as a share of the outputs' size.

    Args:
        texts: The tokens of as many texts as the batch has, each at least as long as the longest.
        run: Runs the network.
        ways: The ways in which it can be called.
        only: The ways to try; None tries all and leaves out those that the network refuses.
    """
    rows = [list(text[:length]) for text, length in zip(texts, LENGTHS, strict=True)]
    attempt = _Attempt(run, ways, WAYS if only is None else only, is_strict=only is not None)
    plain = attempt.plainly(rows)
    return attempt.together(plain) or attempt.in_batch(plain) | attempt.padded_left_and_far(plain)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Calls a network in the requested ways, as far as it accepts them.

    Attributes:
        run: Runs the network.
        ways: The ways in which it can be called.
        wanted: The ways to try.
        is_strict: Whether a refusal is an error, because the base accepted that way.
    """

    run: Run
    ways: BatchCapabilities
    wanted: Collection[str]
    is_strict: bool

    def plainly(self, rows: Sequence[Sequence[int]]) -> _Plain:
        """Run the first text alone, and keep its cache if there is one to use."""
        filled = self._unless_refused(lambda: self._fill_cache(rows[0])) if CACHE in self.wanted else None
        if filled is None:
            alone, cache = _output(self.run(_inputs(rows[:1], self.ways)), len(rows[0]))[0], None
        else:
            alone, cache = filled
        scale = max(1.0, float(alone.double().square().mean().sqrt()))
        return _Plain(rows, alone, scale, cache)

    def together(self, plain: _Plain) -> dict[str, float]:
        """Try all ways that take a batch in one; empty where one is not wanted, or the network refuses them."""
        is_all = {BATCH, LEFT, LONGEST} <= {*self.wanted} and self.ways.pads_left and self.ways.is_apart
        start = self.ways.farthest - len(plain.rows[0])
        if not is_all or start <= 0:
            return {}
        outputs = self._unless_refused(lambda: self._run_together(plain, start), is_strict=False)
        if outputs is None:
            return {}
        right, _, left, far = outputs
        places = slice(-len(plain.rows[0]), None)
        by_way = {BATCH: plain.deviation(right)} | self._compare_cached(plain, right)
        return by_way | {LEFT: plain.deviation(left[places]), LONGEST: plain.deviation(far[places])}

    def in_batch(self, plain: _Plain) -> dict[str, float]:
        """Run beside others, padded on the right; and the last token with the cache of the rest."""
        if not {BATCH, CACHE} & {*self.wanted}:
            return {}
        inputs = _inputs(plain.rows, self.ways)
        outputs = self._unless_refused(lambda: _output(self.run(inputs), max(LENGTHS))[0])
        if outputs is None:
            return {}
        by_way = {BATCH: plain.deviation(outputs)} if BATCH in self.wanted else {}
        return by_way | self._compare_cached(plain, outputs)

    def padded_left_and_far(self, plain: _Plain) -> dict[str, float]:
        """Run behind padding, and at the last positions that the network knows."""
        is_left = LEFT in self.wanted and self.ways.pads_left
        is_far = LONGEST in self.wanted and self.ways.farthest > len(plain.rows[0])
        by_way = self._unless_refused(lambda: self._try_positions(plain, left=is_left, far=is_far))
        if by_way is None and is_left and is_far:  # it may take one of them
            left = self._unless_refused(lambda: self._try_positions(plain, left=True, far=False))
            far = self._unless_refused(lambda: self._try_positions(plain, left=False, far=True))
            return (left or {}) | (far or {})
        return by_way or {}

    def _compare_cached(self, plain: _Plain, outputs: torch.Tensor) -> dict[str, float]:
        """Compare the last token by the cache of the rest with the same token in a batch."""
        last = None if plain.cache is None else self._unless_refused(lambda: self._continue_cached(plain))
        return {} if last is None else {CACHE: plain.share(outputs[len(plain.alone)], last)}

    def _fill_cache(self, text: Sequence[int]) -> tuple[torch.Tensor, object] | None:
        """Return the outputs for all but the last token, and their cache."""
        if self.ways.continues is None:
            return None
        ids = torch.tensor([text[:-1]], dtype=torch.long, device=self.ways.device)
        result, cache = self.ways.continues(ids, None)
        return None if cache is None else (_output(result, ids.shape[1])[0], cache)

    def _continue_cached(self, plain: _Plain) -> torch.Tensor:
        """Return the outputs for the last token, by the cache of those before."""
        assert self.ways.continues is not None, "something was kept"
        last = torch.tensor([plain.rows[0][-1:]], dtype=torch.long, device=self.ways.device)
        result, _ = self.ways.continues(last, plain.cache)
        return _output(result, 1)[0, 0]

    def _run_together(self, plain: _Plain, start: int) -> torch.Tensor:
        """Run the text padded on the right, another that fills its row, the text padded on the left, and far on."""
        text, other = plain.rows[:2]
        right, left = (
            _inputs(rows, self.ways, on_left=on_left)
            for rows, on_left in (([text, other], False), ([text, text, other], True))
        )
        inputs = {name: torch.cat([right[name], left[name][:-1]]) for name in right}
        inputs["position_ids"] = _positions(inputs["attention_mask"])
        inputs["position_ids"][-1] += start * inputs["attention_mask"][-1]
        return _output(self.run(inputs), inputs["input_ids"].shape[1])

    def _try_positions(self, plain: _Plain, *, left: bool, far: bool) -> dict[str, float]:
        """Run the first text behind padding, at far positions, or as a batch of both."""
        if not left and not far:
            return {}
        text, other = plain.rows[:2]
        rows = [text, other] if left else []
        inputs = _inputs([*rows, text] if far else rows, self.ways, on_left=True)
        if self.ways.farthest:
            inputs["position_ids"] = _positions(inputs["attention_mask"])
        if far:
            start = self.ways.farthest - len(text)
            inputs["position_ids"][-1] += start * inputs["attention_mask"][-1]
        outputs = _output(self.run(inputs), inputs["input_ids"].shape[1])
        places = slice(-len(text), None)
        by_way = {LEFT: plain.deviation(outputs[0, places])} if left else {}
        return by_way | ({LONGEST: plain.deviation(outputs[-1, places])} if far else {})

    def _unless_refused(self, call: Callable[[], Found], *, is_strict: bool | None = None) -> Found | None:
        try:
            return call()
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except _REFUSALS:
            if self.is_strict if is_strict is None else is_strict:
                raise
            return None


def _positions(mask: torch.Tensor) -> torch.Tensor:
    """Number tokens as `generate` does."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def _inputs(
    rows: Sequence[Sequence[int]], ways: BatchCapabilities, *, on_left: bool = False
) -> dict[str, torch.Tensor]:
    ids, mask = pad_rows(rows, pad=ways.pad, device=ways.device, on_left=on_left)
    return {"input_ids": ids, "attention_mask": mask, **ways.beside(ids)}


def _output(result: Mapping[str, object], length: int) -> torch.Tensor:
    """Return the output to compare: (rows, places, values), or (rows, values) without places."""
    for name in _OUTPUTS:
        value = result.get(name)
        if isinstance(value, torch.Tensor):
            value = value.float()
            return value[:, -length:] if value.ndim == 3 else value
    raise LookupError("the network gives nothing that could be compared")
