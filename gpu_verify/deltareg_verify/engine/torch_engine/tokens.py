"""Texts as tokens of the base, and how likely tokens are after others."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from deltareg.errors import InvalidInput
from deltareg_verify.engine.engine import F64

Pair = tuple[Sequence[int], Sequence[int]]
Row = tuple[int, ...]
_MOST_TOGETHER = 512  # tokens of one forward, as many as the longest text may have


@dataclass(frozen=True, slots=True)
class BaseTokenizer:
    """See `deltareg_verify.engine.engine.Tokenizer`.

    Attributes:
        wrapped: The tokenizer that the base's files describe.
        most: How many tokens the network takes at once.
    """

    wrapped: PreTrainedTokenizerBase
    most: int

    @property
    def begin(self) -> int | None:
        """The token before a text."""
        return _number(self.wrapped.bos_token_id)

    @property
    def end(self) -> int | None:
        """The token after a text."""
        return _number(self.wrapped.eos_token_id)

    def encode(self, text: str, *, special: bool | None = None) -> list[int]:
        """Encode a text as tokens."""
        encode = self.wrapped.encode
        tokens = encode(text) if special is None else encode(text, add_special_tokens=special)
        return [int(token) for token in tokens]

    def begin_of(self, text: str, most: int) -> list[int]:
        """Encode a text as at most `most` tokens, its end tokens included."""
        tokens = self.wrapped.encode(text, truncation=True, max_length=most)
        return [int(token) for token in tokens]

    def decode(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """Decode tokens as text; repeated tokens of a CTC stay repeated."""
        more = {"group_tokens": False} if hasattr(self.wrapped, "word_delimiter_token") else {}
        return str(self.wrapped.decode(list(tokens), skip_special_tokens=not special, **more))


def score_pairs(
    logits_of: Callable[[torch.Tensor], torch.Tensor], pairs: Sequence[Pair], *, most: int, device: torch.device
) -> F64:
    """Score the second of each pair after the first; see `DeltaEngine.log_likelihoods`.

    Pairs with the same input share a forward, such as choices of one token after one question.

    Raises:
        InvalidInput: There is nothing to score in a pair, or more than the network takes.
    """
    by_input: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for row, (context, following) in enumerate(pairs):
        _check(context, following, most)
        by_input[tuple([*context, *following][-(most + 1) : -1])].append(row)
    scores = np.zeros((len(pairs), 2))
    for together in _alike(by_input):
        all_logits = logits_of(torch.tensor(together, dtype=torch.long, device=device))
        for inputs, logits in zip(together, all_logits, strict=True):
            for row in by_input[inputs]:
                targets = torch.tensor(list(pairs[row][1]), dtype=torch.long, device=device)
                logs = logits[-len(targets) :].log_softmax(-1)
                total = logs.gather(1, targets[:, None]).double().sum()
                scores[row] = float(total), bool((logs.argmax(-1) == targets).all())
    return scores


def _alike(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield rows of one length together, some at a time: such rows need no padding."""
    by_length: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_length[len(row)].append(row)
    for length, alike in by_length.items():
        count = max(1, _MOST_TOGETHER // length)
        for start in range(0, len(alike), count):
            yield alike[start : start + count]


def sum_losses(
    logits_of: Callable[[torch.Tensor], torch.Tensor],
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    most: int,
    device: torch.device,
) -> F64:
    """Sum the loss of every text, one forward each, as padded ones would depend on each other.

    Returns:
        (n, 2): the sum, and over how many tokens.
    """
    losses = np.zeros((len(texts), 2))
    for row, text in enumerate(texts):
        encoded = tokenizer(text, truncation=True, max_length=most)["input_ids"]
        ids = torch.tensor([encoded], dtype=torch.long, device=device)
        if ids.shape[1] > 1:
            logits = logits_of(ids)[0, :-1]
            loss = functional.cross_entropy(logits, ids[0, 1:], reduction="sum")
            losses[row] = float(loss), ids.shape[1] - 1
    return losses


def encode_texts(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    others: Sequence[str] | None = None,
    *,
    takes: Collection[str],
    most: int,
) -> dict[str, NDArray[np.int64]]:
    """Encode texts, or pairs of them, padded to one length.

    Args:
        tokenizer: The base's.
        texts: One a row.
        others: The second text of each row; None without one.
        takes: The parameters of the network's forward.
        most: How many tokens of a row are kept.
    """
    if tokenizer.pad_token is None:  # what stands there is masked away
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    encoded = tokenizer(
        list(texts),
        None if others is None else list(others),
        truncation=True,
        max_length=most,
        padding=True,
        return_tensors="np",
    )
    return {str(k): np.asarray(v, np.int64) for k, v in encoded.items() if k in takes}


def follow(
    logits_of: Callable[[torch.Tensor], torch.Tensor],
    tokens: Sequence[int],
    count: int,
    *,
    is_over: Callable[[Sequence[int]], bool],
    device: torch.device,
) -> list[int]:
    """Continue tokens greedily; see `DeltaEngine.follow`."""
    ids = torch.tensor([list(tokens)], dtype=torch.long, device=device)
    added: list[int] = []
    while tokens and len(added) < count:
        following = int(logits_of(ids)[0, -1].argmax())
        added.append(following)
        if is_over(added):
            break
        ids = torch.cat([ids, ids.new_tensor([[following]])], dim=1)
    return added


def continue_rows(
    logits_of: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor, count: int
) -> NDArray[np.int64]:
    """Continue rows of tokens greedily, without a cache, so that each step is a plain forward.

    Args:
        logits_of: Returns the logits for some tokens.
        ids: (rows, tokens): The rows.
        count: How many tokens to add.

    Returns:
        (rows, count): The added tokens.
    """
    for _ in range(count):
        ids = torch.cat([ids, logits_of(ids)[:, -1].argmax(-1, keepdim=True)], dim=1)
    added: NDArray[np.int64] = ids[:, -count:].cpu().numpy()
    return added


def follow_all(
    logits_of: Callable[[torch.Tensor], torch.Tensor],
    texts: Sequence[Sequence[int]],
    count: int,
    *,
    end: int | None,
    device: torch.device,
) -> list[list[int]]:
    """Continue several texts greedily; see `DeltaEngine.follow_all`.

    A short one is continued until it is as long as a longer one, which then goes with it, so that
    no row is ever padded.
    """
    added: list[list[int]] = [[] for _ in texts]
    is_open = [bool(text) and count > 0 for text in texts]
    while any(is_open):
        shortest = min(len(texts[at]) + len(added[at]) for at in range(len(texts)) if is_open[at])
        places = {
            at: (*texts[at], *added[at])
            for at in range(len(texts))
            if is_open[at] and len(texts[at]) + len(added[at]) == shortest
        }
        following: dict[Row, int] = {}
        for together in _alike(dict.fromkeys(places.values())):
            last = logits_of(torch.tensor(together, dtype=torch.long, device=device))[:, -1].argmax(-1)
            following.update(zip(together, last.tolist(), strict=True))
        for at, row in places.items():
            added[at].append(following[row])
            is_open[at] = following[row] != end and len(added[at]) < count
    return added


def _check(context: Sequence[int], following: Sequence[int], most: int) -> None:
    if not context or not following:
        what = "after it" if context else "before it"
        raise InvalidInput(f"there is no token {what}: a text to be scored is empty")
    if len(following) > most:
        raise InvalidInput(f"a text of {len(following)} tokens is scored, and the base takes {most}")


def _number(token: object) -> int | None:
    return token if isinstance(token, int) else None
