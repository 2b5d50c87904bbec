"""The engine: one base, one delta, three states."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig, PreTrainedTokenizerBase

from deltareg.delta.kind import Addition, BaseCopy, Effect, WeightUpdate
from deltareg.delta.maths.formula import Tensor
from deltareg.errors import Inconclusive
from deltareg.suites.base_probes import BaseProbes
from deltareg.suites.suite import Suite
from deltareg_verify.engine.case import BaseFiles
from deltareg_verify.engine.engine import F64, FiredEffects, Outputs, ReloadOutcome, SecondOpinion, State, WeightChange
from deltareg_verify.engine.torch_engine import device as devices
from deltareg_verify.engine.torch_engine import tokens as wording
from deltareg_verify.engine.torch_engine.direct_weights import find_read_directly
from deltareg_verify.engine.torch_engine.fired import find_optional_effects, watch_effects
from deltareg_verify.engine.torch_engine.fold import chains, change_of, is_finite
from deltareg_verify.engine.torch_engine.folded_reload import folded_values, load_beside, run_unless_same
from deltareg_verify.engine.torch_engine.forward import forward, put_on
from deltareg_verify.engine.torch_engine.from_files import blank_values, dtype_of
from deltareg_verify.engine.torch_engine.invocations import with_invocations
from deltareg_verify.engine.torch_engine.judging import Found, Judge, JudgedNetwork, figures_of
from deltareg_verify.engine.torch_engine.libraries.files import files_without, is_layer_weight
from deltareg_verify.engine.torch_engine.load import DTYPES, SPELLED, LoadedNetwork, load, load_tokenizer
from deltareg_verify.engine.torch_engine.networks.calling import parameters_of
from deltareg_verify.engine.torch_engine.networks.pipeline import run_part
from deltareg_verify.engine.torch_engine.ops import REAL, KeepingOps, TorchOps
from deltareg_verify.engine.torch_engine.plan import NetworkPlan, fold_plan, make_plan
from deltareg_verify.engine.torch_engine.positions import most_positions
from deltareg_verify.engine.torch_engine.prefix import added_rows, places_before, without_added
from deltareg_verify.engine.torch_engine.probe import (
    continues_texts,
    floating_outputs,
    given_inputs,
    known_tokens,
    probe_inputs,
)
from deltareg_verify.engine.torch_engine.probe_digest import digest_probe
from deltareg_verify.engine.torch_engine.room import MemoryRoom, estimate_need
from deltareg_verify.engine.torch_engine.second_opinion import ask, stored_places
from deltareg_verify.engine.torch_engine.streamed import StreamPlacement
from deltareg_verify.engine.torch_engine.swap import swap_tensors
from deltareg_verify.engine.torch_engine.tokens import BaseTokenizer
from deltareg_verify.engine.torch_engine.training import DeltaTrainer
from deltareg_verify.engine.torch_engine.writing import can_write, load_settings, write
from deltareg_verify.messages.figures import Figures

_MOST_TOKENS = 512


class TorchEngine:
    """See `deltareg_verify.engine.engine.DeltaEngine`, which says what each method promises."""

    def __init__(
        self,
        base: BaseFiles,
        effects: Sequence[Effect],
        *,
        suite: Suite,
        device: torch.device,
        room: MemoryRoom | None = None,
        samples: Callable[[], Mapping[str, NDArray[np.generic]]] | None = None,
    ) -> None:
        self._whole = base
        self._base = run_part(base, effects)
        self._room = room or MemoryRoom(device)
        self._tensors = self._base.tensors
        self._effects = self._probed = effects
        self._suite = suite
        self._device = device
        self._samples = samples
        self._running = KeepingOps(device)

    @property
    def dtype(self) -> str:
        """The dtype that the base runs in."""
        return self._network.dtype

    @property
    def config(self) -> Mapping[str, object]:
        """The network's configuration by base and delta together."""
        return self._base.view.config

    @property
    def is_foldable(self) -> bool:
        """Whether every effect is on weights."""
        return all(isinstance(e, (WeightUpdate, Addition, BaseCopy)) for e in self._effects)

    def changes(self) -> Sequence[WeightChange]:
        """Measure every weight update."""
        records = self._base.view.tensors
        real = [chain for chain in chains(self._effects) if records[chain.source].dtype in REAL]
        ops = TorchOps(self._device)
        with devices.memory_seam("sizing the updates"):
            return [change for chain in real if (change := change_of(chain, self._tensors, ops)) is not None]

    def outputs(self, state: State, *, seed: int = 0) -> Outputs:
        """Run one forward on the probe; the rows of a prompt are not outputs of the probe."""
        return self._of_inputs(state, self._forward(state, self._probe, seed=seed))

    def digest_probe(self) -> str:
        """Return a digest of what the base's outputs on the probe depend on; empty where weights are streamed."""
        return digest_probe(self._network.module, self._dtype, self._probe) if self._placing is None else ""

    def reload_folded(self, config: Mapping[str, object]) -> ReloadOutcome:
        """Load the folded model by the class that a config names; run it on the probe if it is another network."""
        folded = {self._plan.targets[name]: new for name, new in self._folded.items()}
        is_whole = self._placing is None
        with devices.memory_seam("loading the folded model"):
            values = folded_values(self._effects, self._tensors, self._ops, known=folded if is_whole else {})
            values = values if is_whole else blank_values(values, values.keys(), self._dtype)
            module, outcome = load_beside(self._base, config, values, self._network, self._dtype)
            if not is_whole:
                return outcome
            module.to(self._device)
            return run_unless_same(module, outcome, self._network, self._folded, self._probe)

    def second_opinion(self, library: str, folder: Path, *, without: Sequence[WeightUpdate] = ()) -> SecondOpinion:
        """Load the delta from its folder by a library, and run it on the probe."""
        if self._placing is not None:
            return SecondOpinion(library)
        tensors = {name for effect in without for name in effect.consumes}
        updates = [e for e in self._effects if isinstance(e, WeightUpdate) and not e.update.replaces]
        rest = [effect.target for effect in updates if effect not in without]
        modules = sorted({place.rpartition(".")[0] for name in rest for place in self._network.places.get(name, ())})
        with devices.memory_seam(f"running the delta by {library}"), files_without(folder, tensors, modules) as files:
            opinion = ask(
                library,
                self._network,
                files,
                self._effects,
                self._probe,
                written=stored_places(self._effects, self._network, self._plan),
            )
        added = added_rows(self._plan.inserts, self._running)
        if opinion.outputs is None or not added:
            return opinion
        return replace(opinion, outputs=without_added(opinion.outputs, self.outputs("base"), added))

    def find_outside_layers(self, targets: Iterable[str]) -> Collection[str]:
        """Return the targets that are not the weight of a layer that a library wraps."""
        places, module = self._network.places, self._network.module
        return {target for target in targets if not any(is_layer_weight(module, at) for at in places.get(target, ()))}

    def find_read_directly(self, targets: Iterable[str]) -> Collection[str]:
        """Return the targets whose module does not run: the network computes with the weight itself."""
        return find_read_directly(self._network.module, {name: self._network.places.get(name, ()) for name in targets})

    def outputs_for(self, state: State, inputs: Mapping[str, NDArray[np.generic]]) -> Outputs:
        """Run one forward on other inputs, by parameter of the network's forward.

        Raises:
            InvalidInput: The network has no such parameter.
        """
        return floating_outputs(self._forward(state, given_inputs(self._network.module, inputs)))

    def find_fired(self) -> FiredEffects:
        """Run one attached forward and return what took part."""
        return self._observe_fired(self._probe)

    def fired_for(self, inputs: Mapping[str, NDArray[np.generic]]) -> FiredEffects:
        """Run one attached forward on other inputs and return what took part."""
        return self._observe_fired(given_inputs(self._network.module, inputs))

    def find_optional(self) -> Collection[str]:
        """Return the targets without which some call of the network does: by a flag, or with fewer inputs."""
        return find_optional_effects(self._network.module, self._plan, self._running, self._probe)

    def find_overflowed(self) -> Sequence[str]:
        """Name folded weights that are not finite."""
        folded, targets = self._folded.items(), self._plan.targets
        with devices.memory_seam("computing the new weights"):
            return sorted({targets[name] for name, new in folded if not is_finite(new)})

    def generate(self, count: int) -> NDArray[np.int64] | None:
        """Continue the probe greedily."""
        if not self._is_generative:
            return None
        return wording.continue_rows(partial(self._logits, "attached"), self._probe["input_ids"], count)

    def tokenizer(self) -> BaseTokenizer | None:
        """Return the base's tokenizer, for a network that continues texts."""
        return self.vocabulary() if self._is_generative else None

    def vocabulary(self) -> BaseTokenizer | None:
        """Return the base's tokenizer."""
        wrapped = self._tokenizer
        return None if wrapped is None else BaseTokenizer(wrapped, self._most_positions)

    def log_likelihoods(self, state: State, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> F64:
        """Score pairs, with one forward for all that share their input."""
        return wording.score_pairs(
            lambda ids: self._logits(state, ids), pairs, most=self._most_positions, device=self._device
        )

    def follow(
        self, state: State, tokens: Sequence[int], count: int, *, is_over: Callable[[Sequence[int]], bool]
    ) -> list[int]:
        """Continue tokens without a cache, so that each step is a plain forward."""
        logits_of = partial(self._logits, state)
        return wording.follow(logits_of, tokens, count, is_over=is_over, device=self._device)

    def follow_all(
        self, state: State, texts: Sequence[Sequence[int]], count: int, *, end: int | None
    ) -> list[list[int]]:
        """Continue texts without a cache, those of one length in one forward."""
        return wording.follow_all(partial(self._logits, state), texts, count, end=end, device=self._device)

    def general(self, state: State, probes: BaseProbes, *, ways: Collection[str] | None = None) -> Figures:
        """Measure the figures on the general probes."""
        return self.run_judge(state, probes, partial(figures_of, ways=ways))

    def run_judge(self, state: State, probes: BaseProbes, judge: Judge[Found]) -> Found:
        """Run a judge on the network in a state, with the general probes as its inputs."""
        judged_network = JudgedNetwork(
            self._network.module,
            self._tokenizer,
            self._is_generative,
            self._most_positions,
            lambda: self._probe,
            self._effects if state == "attached" else (),
        )
        with devices.memory_seam(f"running the {state} network on general probes"):
            general = judged_network.inputs(probes)
            with self._as(state):
                return judge(judged_network, general)

    def losses(self, state: State, texts: Sequence[str]) -> F64 | None:
        """Sum the loss of every text."""
        tokenizer = self._tokenizer
        if tokenizer is None or not self._is_generative:
            return None
        logits_of, most = partial(self._logits, state), min(_MOST_TOKENS, self._most_positions)
        return wording.sum_losses(logits_of, tokenizer, texts, most=most, device=self._device)

    def encode(
        self, texts: Sequence[str], others: Sequence[str] | None = None
    ) -> Mapping[str, NDArray[np.int64]] | None:
        """Encode texts, or pairs of them, with the base's tokenizer."""
        tokenizer = self._tokenizer
        if tokenizer is None:
            return None
        takes, most = parameters_of(self._network.module), min(_MOST_TOKENS, self._most_positions)
        return wording.encode_texts(tokenizer, texts, others, most=most, takes=takes)

    def write(self, state: State, inputs: Mapping[str, NDArray[np.generic]], count: int) -> list[list[int]] | None:
        """Have the library itself continue greedily, step by step, as it does for its users."""
        module = self._network.module
        if not can_write(module):
            return None
        tensors = given_inputs(self._network.module, inputs)
        with devices.memory_seam(f"writing with the {state} network"), self._as(state):
            return write(module, tensors, count, settings=self._settings)

    def seconds(self, state: State, count: int) -> Sequence[float]:
        """Time forwards on the probe."""
        return devices.time_calls(lambda: self._forward(state, self._probe), count, self._device)

    def beside(self, effects: Sequence[Effect]) -> "TorchEngine":
        """Return an engine of another delta, with this one's network."""
        other = TorchEngine(
            self._whole, effects, suite=self._suite, device=self._device, room=self._room, samples=self._samples
        )
        if other._base.view.components.keys() <= self._base.view.components.keys():
            other._base, other._tensors = self._base, self._tensors
            other._network, other._tokenizer = self._network, self._tokenizer
        if "_probe" in self.__dict__:  # the two are compared on one probe
            other._probe = self._probe
        else:
            self._probed = other._probed = [*self._probed, *effects]
        return other

    def trainer(self, stored: Mapping[str, tuple[Tensor, float]]) -> DeltaTrainer:
        """Return a trainer of tensors that the effects read; see `DeltaTrainer`."""
        return DeltaTrainer(self._network, self._base, self._effects, stored, self._device)

    def in_dtype(self, dtype: str) -> "TorchEngine":
        """Return the same engine with its base in a dtype, loaded anew if need be."""
        if dtype not in SPELLED or DTYPES[SPELLED[dtype]] == self._dtype:
            return self
        suite = replace(self._suite, dtype=SPELLED[dtype])
        return TorchEngine(
            self._whole, self._effects, suite=suite, device=self._device, room=self._room, samples=self._samples
        )

    def peak_bytes(self) -> int:
        """The most memory held so far."""
        return devices.peak_bytes(self._device)

    def environment(self) -> Mapping[str, str]:
        """Describe software and device."""
        return {**devices.environment(self._device), **self._room.environment()}

    @cached_property
    def _ops(self) -> TorchOps:
        return TorchOps(self._device, self._placing)

    @cached_property
    def _dtype(self) -> torch.dtype:
        """The dtype that the suite asks for, or the base's own."""
        return DTYPES.get(self._suite.dtype) or dtype_of(self._base.path, self._base.view, self._tensors)

    @cached_property
    def _placing(self) -> StreamPlacement | None:
        need = estimate_need(self._base.view, self._effects, self._dtype, self._device)
        return self._room.placing(need)

    @cached_property
    def _network(self) -> LoadedNetwork:
        with devices.memory_seam("loading the base"):
            return load(
                self._base.path, self._base.view, self._tensors, self._device, dtype=self._dtype, placing=self._placing
            )

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase | None:
        return load_tokenizer(self._base.path)

    @cached_property
    def _settings(self) -> GenerationConfig | None:
        return load_settings(self._base.path)

    @cached_property
    def _plan(self) -> NetworkPlan:
        with devices.memory_seam("computing the new weights"):
            return make_plan(
                self._network, self._effects, tensors=self._tensors, names=self._base.view.names, ops=self._ops
            )

    @cached_property
    def _folded(self) -> Mapping[str, torch.Tensor]:
        if not self.is_foldable:
            raise Inconclusive("the delta acts on activations and has no folded state")
        with devices.memory_seam("computing the new weights"):
            return fold_plan(self._plan, self._network, tensors=self._tensors, ops=self._ops)

    @cached_property
    def _probe(self) -> Mapping[str, torch.Tensor]:
        rows, tokens = (self._suite.probes[name] for name in ("sequences", "tokens"))
        module = self._network.module
        with devices.memory_seam("drawing the probe"):
            if self._samples is None:
                inputs = probe_inputs(module, seed=self._suite.seed, sequences=rows, tokens=tokens)
            else:
                inputs = given_inputs(module, {name: values[:rows] for name, values in self._samples().items()})
        return with_invocations(inputs, self._probed, known=known_tokens(module))

    @cached_property
    def _most_positions(self) -> int:
        return most_positions(self._network.module, _MOST_TOKENS) - places_before(self._effects)

    @property
    def _is_generative(self) -> bool:
        return continues_texts(self._network.module)

    def _observe_fired(self, inputs: Mapping[str, torch.Tensor]) -> FiredEffects:
        with devices.memory_seam("running the attached forward"):
            fired, result = watch_effects(self._network, self._plan, self._running, inputs)
        return replace(fired, outputs=self._of_inputs("attached", result) if inputs is self._probe else None)

    def _of_inputs(self, state: State, result: Mapping[str, object]) -> Outputs:
        """Return the outputs on the probe, without the rows of a prompt."""
        outputs = floating_outputs(result)
        added = added_rows(self._plan.inserts, self._running) if state == "attached" else 0
        return without_added(outputs, self.outputs("base"), added) if added else outputs

    def _logits(self, state: State, ids: torch.Tensor) -> torch.Tensor:
        logits = self._forward(state, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})["logits"]
        assert isinstance(logits, torch.Tensor)
        return logits[:, -ids.shape[1] :].float()  # a delta may put virtual tokens before them

    def _forward(self, state: State, inputs: Mapping[str, torch.Tensor], *, seed: int = 0) -> Mapping[str, object]:
        with devices.memory_seam(f"running the {state} forward"), self._as(state):
            return forward(self._network.module, inputs, seed=seed)

    def _as(self, state: State) -> AbstractContextManager[object]:
        """Keep the network in a state for as long as the block runs."""
        match state:
            case "base":
                return nullcontext()
            case "attached":
                return put_on(self._network.module, self._plan, self._running, _nobody)
            case "folded":
                return swap_tensors(self._network.module, self._folded)


def _nobody(effect: object, passed: object = None, /) -> None:
    """Ignore the call."""
