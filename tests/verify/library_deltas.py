"""Deltas that the peft library makes here and now on small networks, and its own results."""

from functools import cached_property

import numpy as np
import pytest
import torch

from deltareg.delta.fold import FoldedBase
from deltareg.tensors.array import to_f32, view
from deltareg.tensors.header import FLOAT_DTYPES
from deltareg_verify.engine.torch_engine.probe import floating_outputs, probe_inputs
from deltareg_verify.judging.examine import examine
from deltareg_verify.judging.verdict import judge
from tests import small_networks
from tests.verify.bench import SMOKE, Bench

peft = pytest.importorskip("peft", reason="needs peft: pip install peft")


class LibraryDelta:
    """A base and a delta, saved by the libraries, and the libraries' own results.

    Args:
        folder: Where they go.
        name: The network, of `tests.small_networks`.
        config: The peft config; None trains every weight and saves the whole network.
    """

    def __init__(self, folder, name, config):
        self.name = name
        self.folder = folder
        self.config = config
        with small_networks.quiet():
            network = small_networks.made(name)
            network.save_pretrained(folder / "base")
            changed = network if config is None else peft.get_peft_model(network, config)
            _disturb(changed, everything=config is None)
            changed.save_pretrained(folder / "delta")

    @cached_property
    def bench(self):
        """Base and delta, opened as the worker does."""
        return Bench(self.folder / "delta", self.folder / "base", self.folder / "cache")

    @cached_property
    def inputs(self):
        """A probe for the network."""
        module = small_networks.made(self.name)
        return probe_inputs(module, seed=SMOKE.seed, sequences=3, tokens=12)

    @property
    def arrays(self):
        """The probe as NumPy arrays."""
        return {name: value.numpy() for name, value in self.inputs.items()}

    def loaded(self):
        """Load base and delta with the library, as its users do."""
        with small_networks.quiet():
            cls = small_networks.class_of(self.name)
            if self.config is None:
                return cls.from_pretrained(self.folder / "delta").eval()
            network = cls.from_pretrained(self.folder / "base")
            return peft.PeftModel.from_pretrained(network, self.folder / "delta").eval()

    @cached_property
    def _model(self):
        return self.loaded()

    @cached_property
    def _outputs(self):
        with small_networks.quiet(), torch.no_grad():
            return floating_outputs(self._model(**self.inputs))

    def outputs(self):
        """Give what the library computes with the delta."""
        return self._outputs

    def merged(self):
        """Give every weight as the library merges it, by its name in the base's files.

        Merging is done in place, so outputs that are asked for later load it again.
        """
        model = self._model
        del self.__dict__["_model"]
        with small_networks.quiet():
            state = (model if self.config is None else model.merge_and_unload()).state_dict()
        state = {name.replace(".modules_to_save.default", ""): v for name, v in state.items()}
        names = self.bench.base.view.names
        return {name: _stored(names, name, state).numpy() for name in self.bench.base.tensors}

    def folded(self):
        """Give every weight of the base's files with the delta folded in."""
        base = self.bench.base.tensors
        folding = FoldedBase(self.bench.assessment.account.effects, base)
        values = {name: _numbers(t.read(), t.dtype, t.shape) for name, t in base.items()}
        for name in set(folding.changed) & base.keys():
            raw = b"".join(folding.rows(name))
            values[name] = _numbers(raw, folding.dtype(name), folding.shape(name))
        return values


def largest_error(got, want):
    """Give the largest difference of any tensor, in units of its largest value."""
    assert got.keys() == want.keys()
    return max(
        float(np.max(np.abs(got[name] - value), initial=0) / max(1e-6, np.abs(value).max()))
        for name, value in want.items()
    )


def _disturb(model, *, everything):
    """Change what training would."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.is_floating_point():
                parameter.add_(0.1 * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            is_running = name.rpartition(".")[2].startswith("running_")
            if is_running and (everything or "modules_to_save" in name):
                buffer.add_(0.1 * torch.rand_like(buffer))


def _stored(names, name, state):
    part = names.part(name)
    if part is None or part.whole not in state:
        return state[names.memory(name)]
    return state[part.whole][part.row].chunk(part.places)[part.place]


def _numbers(raw, dtype, shape):
    values = view(raw, dtype, shape)
    return to_f32(values, dtype) if dtype in FLOAT_DTYPES else values


def verdict_of(delta):
    """Give the verdict on a delta, and the results that it is made of by check."""
    results = list(examine(delta.bench.case()))
    outcome = judge(SMOKE, results)
    return outcome, {result.name: result for result in results}
