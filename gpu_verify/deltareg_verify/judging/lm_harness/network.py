"""The network as lm-eval sees it: one state of an engine, greedy, one text at a time."""

# The harness is optional: with it its types are partly known, without it they are not.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# pyright: reportIncompatibleMethodOverride=false, reportTypedDictNotRequiredAccess=false

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from deltareg.errors import InvalidInput
from deltareg_verify.engine.engine import DeltaEngine, State, Tokenizer

_MOST_NEW_TOKENS = 256  # lm-eval's own, where a task does not say


class LmRequest(Protocol):
    """A request of lm-eval: texts, and for a continuation its options."""

    @property
    def args(self) -> tuple[object, ...]:
        """A text, two of them, or one and options."""
        ...


class EngineNetwork(TemplateLM):  # type: ignore[misc]  # the harness is not there for every mypy
    """A state of an engine. The harness decides how to cut a context and its continuation."""

    def __init__(self, engine: DeltaEngine, state: State, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._engine = engine
        self._state: State = state
        self._words = tokenizer
        self.is_sane = True
        """Whether every likelihood so far was a number."""

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return _require_token(self._words.end)

    @property
    def prefix_token_id(self) -> int:
        """The token before a text without a context."""
        return _require_token(self._words.end if self._words.begin is None else self._words.begin)

    def tok_encode(self, string: str, *, add_special_tokens: bool | None = None, **_: object) -> list[int]:
        """Tokenize a text; one that begins with the begin token gets no second one."""
        mark = self._words.end if self._words.begin is None else self._words.begin
        if add_special_tokens is None and mark is not None:
            begun = string.startswith(self._words.decode([mark], special=True))
            add_special_tokens = False if begun else None
        return self._words.encode(string, special=add_special_tokens)

    def loglikelihood_rolling(self, requests: Sequence[LmRequest]) -> list[float]:
        """Return how likely whole texts are; long ones are scored in windows."""
        return [self._whole(str(request.args[0])) for request in requests]

    def generate_until(self, requests: Sequence[LmRequest]) -> list[str]:
        """Continue texts greedily up to a word that ends them."""
        return [self._continue_text(str(one.args[0]), one.args[1]) for one in requests]

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[object, list[int], list[int]]], **_: object
    ) -> list[tuple[float, bool]]:
        pairs = [(context, following) for _, context, following in requests]
        scores = self._engine.log_likelihoods(self._state, pairs)
        self.is_sane &= not np.isnan(scores[:, 0]).any()
        return [(float(likelihood), bool(greedy)) for likelihood, greedy in scores]

    def _whole(self, text: str) -> float:
        windows = get_rolling_token_windows(
            token_list=self.tok_encode(text),
            prefix_token=self.prefix_token_id,
            max_seq_len=self._words.most,
            context_len=1,
        )
        pairs = [(None, *make_disjoint_window(window)) for window in windows]
        return sum(likelihood for likelihood, _ in self._loglikelihood_tokens(pairs))

    def _continue_text(self, text: str, options: object) -> str:
        assert isinstance(options, Mapping), "lm-eval gives options with each text"
        limits = normalize_gen_kwargs(dict(options), _MOST_NEW_TOKENS)
        count = int(limits["max_gen_toks"])
        end = self._words.end
        mark = None if end is None else self._words.decode([end], special=True)
        stops = [stop for stop in handle_stop_sequences(list(limits["until"]), eos=mark) if stop]
        room = self._words.most - count
        if room < 1:
            raise InvalidInput(
                f"{count} tokens are to be written, and the base takes {self._words.most} at all",
                fix="set max_gen_toks in the task's generation_kwargs",
            )
        tokens = self._engine.follow(
            self._state,
            self._words.encode(text)[-room:],
            count,
            is_over=lambda added: added[-1] == end or _has(self._words.decode(added), stops),
        )
        return _cut(self._words.decode(tokens), stops)


def _has(text: str, stops: Sequence[str]) -> bool:
    return any(stop in text for stop in stops)


def _cut(text: str, stops: Sequence[str]) -> str:
    for stop in stops:
        text = text.split(stop)[0]
    return text


def _require_token(token: int | None) -> int:
    if token is None:
        raise InvalidInput("the base's tokenizer has no token that begins or ends a text")
    return token
