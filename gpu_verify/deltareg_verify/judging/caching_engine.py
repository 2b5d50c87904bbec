"""An engine that remembers the base's outputs, for many deltas on one base.

A backtest compares a score of deltas with the same base on the same samples; without this, most of
its time would go into computing the base's answers again.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from deltareg.delta.kind import Effect
from deltareg.suites.base_probes import BaseProbes
from deltareg_verify.engine.engine import F64, DeltaEngine, Outputs, State
from deltareg_verify.messages.figures import Figures

Answers = dict[tuple[str, ...], object]


class RememberingEngine:
    """See `deltareg_verify.engine.engine.DeltaEngine`; everything not defined here is the engine's own."""

    def __init__(self, engine: DeltaEngine, answers: Answers, *, is_fixed: bool = False) -> None:
        """Wrap an engine.

        Args:
            engine: The engine that computes.
            answers: The base's outputs so far, shared by all engines on one base.
            is_fixed: Whether the delta's own answers are worth keeping, too, as an incumbent's.
        """
        self._engine = engine
        self._answers = answers
        self._own: Answers | None = {} if is_fixed else None
        # Numbers of samples are few, and several checks of one run ask for the same.
        self._numbers: Answers = {} if self._own is None else self._own

    def __getattr__(self, name: str) -> object:
        """Return the engine's attribute."""
        return getattr(self._engine, name)

    def losses(self, state: State, texts: Sequence[str]) -> F64 | None:
        """Return the losses of texts."""
        cache = self._kept_numbers(state)
        key = ("losses", state, _digest("\0".join(texts).encode()))
        if key not in cache:
            cache[key] = self._engine.losses(state, texts)
        return cast("F64 | None", cache[key])

    def log_likelihoods(self, state: State, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> F64:
        """Score pairs; a pair that was scored before, in whatever batch, is not scored again."""
        cache = self._kept_numbers(state)
        keys = [("likelihood", state, repr((*map(tuple, pair),))) for pair in pairs]
        new = [at for at, key in enumerate(keys) if key not in cache]
        if new:
            scores = self._engine.log_likelihoods(state, [pairs[at] for at in new])
            cache.update(zip([keys[at] for at in new], scores, strict=True))
        return np.array([cache[key] for key in keys], np.float64).reshape(len(pairs), 2)

    def outputs_for(self, state: State, inputs: Mapping[str, NDArray[np.generic]]) -> Outputs:
        """Run one forward on other inputs."""
        cache = self._select_answers(state)
        if cache is None:
            return self._engine.outputs_for(state, inputs)
        key = ("outputs", state, *_digests(inputs))
        if key not in cache:
            cache[key] = self._engine.outputs_for(state, inputs)
        return cast("Outputs", cache[key])

    def write(self, state: State, inputs: Mapping[str, NDArray[np.generic]], count: int) -> list[list[int]] | None:
        """Continue rows of inputs."""
        cache = self._select_answers(state)
        if cache is None:
            return self._engine.write(state, inputs, count)
        key = ("write", state, str(count), *_digests(inputs))
        if key not in cache:
            cache[key] = self._engine.write(state, inputs, count)
        return cast("list[list[int]] | None", cache[key])

    def follow_all(
        self, state: State, texts: Sequence[Sequence[int]], count: int, *, end: int | None
    ) -> list[list[int]]:
        """Continue texts; a text that was continued before, in whatever company, is not continued again."""
        cache = self._kept_numbers(state)
        keys = [("follow", state, str(count), repr((*text,)), str(end)) for text in texts]
        new = [at for at, key in enumerate(keys) if key not in cache]
        if new:
            written = self._engine.follow_all(state, [texts[at] for at in new], count, end=end)
            cache.update(zip([keys[at] for at in new], written, strict=True))
        return [cast("list[int]", cache[key]) for key in keys]

    def general(self, state: State, probes: BaseProbes, *, ways: Collection[str] | None = None) -> Figures:
        """Return the figures on the general probes; the base's are the same for every delta on it."""
        if state != "base" or ways is not None:
            return self._engine.general(state, probes, ways=ways)
        key = ("general", str(probes.digest))
        if key not in self._answers:
            self._answers[key] = self._engine.general(state, probes)
        return cast("Figures", self._answers[key])

    def beside(self, effects: Sequence[Effect]) -> DeltaEngine:
        """Return an engine of another delta on the same base."""
        return remembering(self._engine.beside(effects), self._answers)

    def _kept_numbers(self, state: State) -> Answers:
        return self._answers if state == "base" else self._numbers

    def _select_answers(self, state: State) -> Answers | None:
        return self._answers if state == "base" else self._own


def remembering(engine: DeltaEngine, answers: Answers, *, is_fixed: bool = False) -> DeltaEngine:
    """Wrap an engine, typed as a `DeltaEngine`."""
    return cast("DeltaEngine", RememberingEngine(engine, answers, is_fixed=is_fixed))


def _digests(inputs: Mapping[str, NDArray[np.generic]]) -> list[str]:
    return [f"{name} {array.dtype} {array.shape} {_digest(array.tobytes())}" for name, array in sorted(inputs.items())]


def _digest(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=16).hexdigest()
