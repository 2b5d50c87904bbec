"""An engine made of plain values: what a network would have given, without a network."""

from dataclasses import dataclass, field

import numpy as np

from deltareg_verify.engine.engine import FiredEffects, WeightChange
from deltareg_verify.messages.figures import Figures


def array(*values):
    return np.array(values, dtype=np.float32)


ALL_FIRED = FiredEffects(1, (), ())


@dataclass
class PlainEngine:
    """Answers with what it was made of; `later` answers from the second time on."""

    base: dict = field(default_factory=lambda: {"logits": array(1, 2, 3)})
    attached: dict = field(default_factory=lambda: {"logits": array(1, 2, 4)})
    folded: dict = field(default_factory=lambda: {"logits": array(1, 2, 4)})
    later: dict | None = None
    base_later: dict | None = None
    dtype: str = "F32"
    is_foldable: bool = True
    sizes: tuple = (WeightChange("layers.0.q.weight", 0.1, 1.0),)
    took_part: FiredEffects = ALL_FIRED
    overflows: tuple = ()
    optional: tuple = ()
    tokens: list | None = None
    perplexities: dict = field(default_factory=dict)
    figures: dict = field(default_factory=dict)
    times: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)

    def changes(self):
        return self.sizes

    def outputs(self, state, *, seed=0):
        self.asked.append(state)
        drawn = {"attached": self.later, "base": self.base_later}.get(state) if seed else None
        return getattr(self, state) if drawn is None else drawn

    def outputs_for(self, state, inputs):
        self.asked.append((state, inputs))
        return getattr(self, state)

    def find_fired(self):
        return self.took_part

    def find_optional(self):
        return self.optional

    def find_read_directly(self, _targets):
        return ()

    def find_overflowed(self):
        return self.overflows

    def generate(self, count):
        return self.tokens.pop(0) if self.tokens else None

    def losses(self, state, texts):
        """Give every text the one perplexity of a state, over ten tokens."""
        found = self.perplexities.get(state)
        return None if found is None else np.array([[10 * np.log(found), 10.0]] * len(texts))

    def general(self, state, probes, *, ways=None):
        return self.figures.get(state, Figures())

    def tokenizer(self):
        return None

    def encode(self, texts):
        return {"input_ids": np.arange(len(texts), dtype=np.int64)[:, None]}

    def seconds(self, state, count):
        return self.times[state][:count]

    def peak_bytes(self):
        return 1_000_000

    def environment(self):
        return {"device": "plain"}
