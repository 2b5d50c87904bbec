"""A network on the general probes of its base: one batched forward, and its figures.

Every text is cut to the same few tokens, so hardly a place of the batch is padding.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from deltareg.errors import NoProbe
from deltareg.suites.base_probes import BaseProbes, ProbeText
from deltareg_verify.engine.torch_engine.general_media import with_patterns
from deltareg_verify.engine.torch_engine.media import INPUTS, SOUNDS
from deltareg_verify.engine.torch_engine.networks.calling import parameters_of
from deltareg_verify.engine.torch_engine.probe import probe_inputs
from deltareg_verify.engine.torch_engine.seeded.placeholders import TOKEN_SETTINGS
from deltareg_verify.engine.torch_engine.spread import classes_of, spreads_of
from deltareg_verify.messages.figures import Figures, ProbeLoss, TokenOdds

TOKENS = 12
_FEW_WORDS, _LETTERS = 1_024, 48  # a token of so small a vocabulary is about a letter
_EVERY, _FIRST_MASKED = 4, 3  # of the places of a text, those that a masked model has to fill
_UNCOUNTED = -100
_FEWEST = 4  # texts, for something to be said of a network by them
_FEW_SOUNDS = 4  # a sound may be thousands of frames
Way = Literal["causal", "seq2seq", "masked", "encoder", "other"]
Run = Callable[[Mapping[str, torch.Tensor]], Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class GeneralProbes:
    """The general probes as inputs of a network.

    Attributes:
        way: How the network processes text.
        inputs: By parameter of its forward.
        labels: (rows, tokens): the tokens to predict at each place, -100 elsewhere; None where
            nothing is predicted.
        kinds: For each row its language or other class.
        special: The tokens to watch.
        vocabulary: How many tokens the network reads.
        names_frames: Whether it names the sound of each frame (CTC).
    """

    way: Way
    inputs: Mapping[str, torch.Tensor]
    labels: torch.Tensor | None = None
    kinds: tuple[str, ...] = ()
    special: Mapping[str, int] | None = None
    vocabulary: int = 0
    names_frames: bool = False

    def is_of_words(self, logits: torch.Tensor) -> bool:
        """Return whether scores are of the next word and not of classes."""
        return logits.ndim == 3 and 0 < self.vocabulary <= logits.shape[2]


def general_inputs(
    module: nn.Module, tokenizer: PreTrainedTokenizerBase | None, probes: BaseProbes, *, is_causal: bool, most: int
) -> GeneralProbes | None:
    """Create the inputs of a network from a base's probes; None where it takes none of them.

    Args:
        module: The network.
        tokenizer: The base's.
        probes: The probes.
        is_causal: Whether it continues texts.
        most: How many tokens it takes at once.
    """
    if not isinstance(module, PreTrainedModel):
        return None
    way = _way(module, tokenizer, is_causal=is_causal)
    if way == "other" or tokenizer is None:
        return _without_words(module, tokenizer, probes)
    length = min(_LETTERS if len(tokenizer) < _FEW_WORDS else TOKENS, most)
    texts = [(one.name, _cut(tokenizer, one, length)) for one in probes.texts]
    rows = [(kind, ids) for kind, ids in texts if len(ids) > 1 and _is_known(tokenizer, ids)]
    vocabulary = _vocabulary(module)
    if len(rows) < _FEWEST or max(max(ids) for _, ids in rows) >= vocabulary:
        return _without_words(module, None, probes)  # it has words for something else
    ids, mask = pad_rows([row for _, row in rows], pad=pad_of(tokenizer), device=module.device)
    inputs = {"input_ids": ids, "attention_mask": mask}
    return _add_labels(
        GeneralProbes(way, inputs, kinds=tuple(kind for kind, _ in rows), vocabulary=vocabulary), module, tokenizer
    )


def _without_words(
    module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, probes: BaseProbes
) -> GeneralProbes | None:
    """Return images and sounds of the probes, and seeded tokens for a network that takes neither."""
    takes = set(parameters_of(module))
    count = probes.images if takes & INPUTS else len(probes.texts)
    count = min(_FEW_SOUNDS, probes.sounds) if takes & SOUNDS else count
    try:
        seeded = probe_inputs(module, seed=probes.seed, sequences=count, tokens=TOKENS)
    except NoProbe:  # a suite may have brought one
        return None
    inputs = _with_texts(module, tokenizer, with_patterns(seeded, seed=probes.seed), probes)
    if type(module).__name__.endswith("ForCTC"):  # its classes are a vocabulary; it reads no word
        return GeneralProbes("other", inputs, names_frames=True)
    return GeneralProbes("other", inputs, vocabulary=_vocabulary(module))


def _is_known(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> bool:
    """Return whether a tokenizer has words for most of a text."""
    unknown = tokenizer.unk_token_id
    return not isinstance(unknown, int) or [*ids].count(unknown) * 2 < len(ids)


def _with_texts(
    module: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    made: Mapping[str, torch.Tensor],
    probes: BaseProbes,
) -> Mapping[str, torch.Tensor]:
    """Replace random tokens with texts, where they stand beside images or sounds."""
    ids = made.get("input_ids")
    if ids is None or tokenizer is None or not INPUTS & made.keys() or not _is_apart(module, made):
        return made
    texts = [one.text for one in probes.texts if one.kind == "text"][: ids.shape[0]]
    token_rows = tokenizer(texts, truncation=True, max_length=ids.shape[1])["input_ids"]
    if len(texts) < ids.shape[0] or max(map(max, token_rows)) >= _vocabulary(module):
        return made
    ids, mask = pad_rows(token_rows, pad=pad_of(tokenizer), device=module.device)
    return {**made, "input_ids": ids, "attention_mask": mask}


def _is_apart(module: PreTrainedModel, made: Mapping[str, torch.Tensor]) -> bool:
    """Return whether words stand alone: no token is a placeholder, and nothing is told of each token."""
    told = [value for name, value in made.items() if name not in {"input_ids", "attention_mask"}]
    is_told_of = any(value.shape[:2] == made["input_ids"].shape for value in told)
    return not is_told_of and all(getattr(module.config, name, None) is None for name in TOKEN_SETTINGS)


def _add_labels(given: GeneralProbes, module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> GeneralProbes:
    """Add the labels to predict from texts, in the network's way."""
    ids, mask = given.inputs["input_ids"], given.inputs["attention_mask"]
    labels = ids.masked_fill(mask == 0, _UNCOUNTED)
    if isinstance(tokenizer.unk_token_id, int):  # what the base has no word for is no text to it
        labels = labels.masked_fill(ids == tokenizer.unk_token_id, _UNCOUNTED)
    match given.way:
        case "causal":
            return replace(given, labels=labels, special=_special(tokenizer, given.vocabulary))
        case "seq2seq":
            inputs = {**given.inputs, "decoder_input_ids": shift_tokens_right(module, ids)}
            return replace(given, inputs=inputs, labels=labels)
        case "masked":
            hidden, targets = _mask_tokens(ids, mask, tokenizer)
            return replace(given, inputs={**given.inputs, "input_ids": hidden}, labels=targets)
        case _:
            return given


def measure(general: GeneralProbes, run: Run) -> Figures:
    """Run a network once on the probes and return its figures, without the ways of batching."""
    result = run(general.inputs)
    logits = result.get("logits")
    if general.labels is None or not isinstance(logits, torch.Tensor) or logits.ndim != 3:
        ids = general.inputs.get("input_ids")
        mask = None if ids is None else general.inputs.get("attention_mask")
        if not isinstance(logits, torch.Tensor):
            return Figures(spreads=spreads_of(result, mask))
        is_of_words = general.is_of_words(logits)
        classes = None if is_of_words else classes_of(logits, mask, of_frames=general.names_frames)
        vectors = {name: value for name, value in result.items() if name != "logits"}
        is_map = classes is None and not is_of_words  # of an image, place by place
        return Figures(classes=classes, spreads=spreads_of(result if is_map else vectors, mask))
    return _of_language(general, *_align_predictions(general, logits, general.labels))


def losses_by_text(general: GeneralProbes, run: Run) -> list[tuple[str, ProbeLoss]]:
    """Return the loss of each text with its class, from the forward that `measure` makes.

    A text without counted tokens keeps its place, with no tokens. A network that predicts no text
    has no losses.
    """
    if general.labels is None:
        return []
    logits = run(general.inputs).get("logits")
    if not isinstance(logits, torch.Tensor) or logits.ndim != 3:
        return []
    rows = zip(general.kinds, *_align_predictions(general, logits, general.labels), strict=True)
    return [(kind, _loss(*_logs(scores, targets))) for kind, scores, targets in rows]


def _align_predictions(
    general: GeneralProbes, logits: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Align scores with the tokens that they predict."""
    logits = logits[:, -labels.shape[1] :]
    if general.way == "causal":  # each place predicts the next token
        return logits[:, :-1], labels[:, 1:]
    return logits, labels


def _of_language(general: GeneralProbes, logits: torch.Tensor, labels: torch.Tensor) -> Figures:
    """Sum losses by class, row by row: a vocabulary may be large."""
    losses: dict[str, ProbeLoss] = {}
    odds: dict[str, list[torch.Tensor]] = {name: [] for name in general.special or {}}
    for kind, scores, row_labels in zip(general.kinds, logits, labels, strict=True):
        logs, targets = _logs(scores, row_labels)
        if not len(targets):
            continue
        old, found = losses.get(kind, ProbeLoss(0.0, 0)), _loss(logs, targets)
        losses[kind] = ProbeLoss(old.total + found.total, old.tokens + found.tokens)
        for name, token in (general.special or {}).items():
            odds[name].append(logs[:, token].double())
    special = {name: _odds(torch.cat(found)) for name, found in odds.items() if found}
    return Figures(losses, special)


def _logs(scores: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probabilities at the counted places of a text, and the tokens there."""
    is_counted = wanted != _UNCOUNTED
    return scores[is_counted].float().log_softmax(-1), wanted[is_counted]


def _loss(logs: torch.Tensor, told: torch.Tensor) -> ProbeLoss:
    return ProbeLoss(-float(logs.gather(1, told[:, None]).double().sum()), len(told))


def _odds(logs: torch.Tensor) -> TokenOdds:
    return TokenOdds(float(logs.exp().mean()), float(logs.clamp(min=-1e6).mean()))


def pad_rows(
    rows: Sequence[Sequence[int]], *, pad: int, device: torch.device, on_left: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad rows of tokens into a batch; returns ids and the attention mask."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for at, row in enumerate(rows):
        place = slice(width - len(row), width) if on_left else slice(0, len(row))
        ids[at, place], mask[at, place] = torch.tensor(list(row)), 1
    return ids.to(device), mask.to(device)


def _way(module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, *, is_causal: bool) -> Way:
    takes = set(parameters_of(module))
    if tokenizer is None or module.main_input_name != "input_ids" or "input_ids" not in takes:
        return "other"
    if is_causal:
        return "causal"
    if takes & INPUTS:
        return "other"
    if module.config.is_encoder_decoder:
        is_writing = "decoder_input_ids" in takes and module.can_generate()
        return "seq2seq" if is_writing else "other"
    if type(module).__name__.endswith("MaskedLM") and isinstance(tokenizer.mask_token_id, int):
        return "masked"
    return "encoder"


def _cut(tokenizer: PreTrainedTokenizerBase, one: ProbeText, length: int) -> list[int]:
    """Cut a text to its first tokens; a chat to its last, as templates begin with their own."""
    if one.kind != "chat":
        return list(tokenizer(one.text)["input_ids"])[:length]
    text = f"User: {one.text}\nAssistant: {one.answer}"
    if tokenizer.chat_template:
        user = {"role": "user", "content": one.text}
        assistant = {"role": "assistant", "content": one.answer}
        try:
            text = str(tokenizer.apply_chat_template([user, assistant], tokenize=False))
        except Exception:  # noqa: BLE001  # a template is a program; one that fails is no template
            return list(tokenizer(text)["input_ids"])[-length:]
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])[-length:]
    return list(tokenizer(text)["input_ids"])[-length:]


def _special(tokenizer: PreTrainedTokenizerBase, vocabulary: int) -> dict[str, int]:
    """Return the tokens that end, begin and pad texts, and the one of a new line."""
    line = tokenizer("\n", add_special_tokens=False)["input_ids"]
    candidates = {
        "eos": tokenizer.eos_token_id,
        "bos": tokenizer.bos_token_id,
        "pad": tokenizer.pad_token_id,
        "newline": line[-1] if line else None,
    }
    if candidates["newline"] == tokenizer.unk_token_id:
        del candidates["newline"]
    special: dict[str, int] = {}
    for name, token in candidates.items():
        is_new = token not in special.values()
        if isinstance(token, int) and 0 <= token < vocabulary and is_new:
            special[name] = token
    return special


def _mask_tokens(
    ids: torch.Tensor, mask: torch.Tensor, tokenizer: PreTrainedTokenizerBase
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hide every fourth token; returns the inputs and the tokens to find."""
    places = torch.arange(ids.shape[1], device=ids.device) % _EVERY == _FIRST_MASKED
    special = torch.tensor(sorted(tokenizer.all_special_ids), device=ids.device)
    hidden = places[None] & (mask == 1) & ~torch.isin(ids, special)
    mark = tokenizer.mask_token_id
    assert isinstance(mark, int), "a tokenizer without a mask is of no masked model"
    return ids.masked_fill(hidden, mark), ids.masked_fill(~hidden, _UNCOUNTED)


def shift_tokens_right(module: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """Return what a decoder reads to write these tokens."""
    config = module.config
    candidates = (getattr(config, name, None) for name in ("decoder_start_token_id", "pad_token_id"))
    first = next((token for token in candidates if isinstance(token, int)), 0)
    return torch.cat([ids.new_full((ids.shape[0], 1), first), ids[:, :-1]], dim=1)


def pad_of(tokenizer: PreTrainedTokenizerBase | None) -> int:
    """Return a token that may serve as padding."""
    if tokenizer is None:
        return 0
    candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id)
    return next((token for token in candidates if isinstance(token, int)), 0)


def _vocabulary(module: PreTrainedModel) -> int:
    """Return how many tokens a network has vectors for; 0 where it has none."""
    try:
        weight = getattr(module.get_input_embeddings(), "weight", None)
    except (NotImplementedError, AttributeError):  # so transformers says that a class has none
        weight = None
    if isinstance(weight, torch.Tensor):
        return int(weight.shape[0])
    return int(getattr(module.config.get_text_config(), "vocab_size", None) or 0)
