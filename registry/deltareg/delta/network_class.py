"""The class of network that base and delta form when the delta brings its own head.

A classifier that was trained on a plain encoder has no place in the class that the base's config
names. The delta's own config names the right one, by class or by task.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from deltareg.delta.architectures import facts
from deltareg.delta.kind import Addition, BaseView, DeltaFiles, Effect, NetworkClass, WeightUpdate
from deltareg.delta.names import name_map_for
from deltareg.documents.json_values import is_list, is_object

_ENDINGS: Mapping[str, str] = {
    "CAUSAL_LM": "ForCausalLM",
    "QUESTION_ANS": "ForQuestionAnswering",
    "SEQ_2_SEQ_LM": "ForConditionalGeneration",
    "SEQ_CLS": "ForSequenceClassification",
    "TOKEN_CLS": "ForTokenClassification",
}
"""Task of peft's -> how transformers ends the names of its classes."""

CONFIG = "config.json"
_OF_THE_FILES = frozenset({"_name_or_path", "dtype", "torch_dtype", "transformers_version"})
_VOCABULARY = "vocab_size"
_TOKENS = ("_token_id", "_token_index", "_token_ids")
_OUTPUTS = frozenset({"classifier", "fc", "head", "logits_proj", "out_proj", "score"})
"""Modules whose rows are the classes that a head tells apart."""
MOST_LABELS = 1 << 20
"""Classes that get names of their own; a head may be made to have more, to fill memory."""


def network_class_of(effects: Sequence[Effect], files: DeltaFiles, base: BaseView) -> NetworkClass | None:
    """Return the class of base and delta together; None if it is the base's, unchanged.

    Also None if the delta has a new head and nothing names its class.

    Args:
        effects: The effects of the delta.
        files: The files of the delta; the documents are read.
        base: The base.
    """
    added = {e.target: e.tensor.shape for e in effects if isinstance(e, Addition)}
    other = {e.target: e.shape for e in effects if isinstance(e, WeightUpdate) and e.shape and _is_head(e.target, base)}
    sizes = _sizes(effects, base)
    own = _own_config(files, base, sizes)
    architecture = _find_declared_class(files, base) if added else base.names.architecture
    count = _outputs({**other, **added})
    labels = _labels(count, files)
    if own is not None:
        return NetworkClass(next(_classes(own), architecture), labels if sizes else (), config=own)
    if not architecture or (not added and not count):
        return None
    return NetworkClass(architecture, labels)


def view_as(base: BaseView, found: NetworkClass) -> BaseView:
    """Return a base as a network of another class sees it: with that config and those names."""
    own = base.config if found.config is None else found.config
    config = {**own, **found.changes(own)}
    names = name_map_for(config, base.tensors)
    ties = names.ties.with_undone(base.names.ties)
    return replace(base, config=config, names=replace(names, ties=ties))


def _find_declared_class(files: DeltaFiles, base: BaseView) -> str:
    """Return the class that a config of the delta names, if transformers has it for this base."""
    classes = facts().headed.get(base.names.model_type, frozenset())
    adapter = files.documents.get("adapter_config.json", {})
    mapping = adapter.get("auto_mapping")
    task = adapter.get("task_type")
    requested = [
        files.documents.get("head_config.json", {}).get("model_class"),
        mapping.get("base_model_class") if is_object(mapping) else None,
        *_classes(files.documents.get(CONFIG, {})),
    ]
    if isinstance(task, str) and task in _ENDINGS:
        requested += sorted(name for name in classes if name.endswith(_ENDINGS[task]))
        requested += [facts().causal_lm.get(base.names.model_type)] if task == "CAUSAL_LM" else []
    return next((name for name in requested if isinstance(name, str) and name in classes), "")


def _own_config(files: DeltaFiles, base: BaseView, sizes: Mapping[int, int]) -> Mapping[str, object] | None:
    """Return the delta's own config if it describes another network than the base's.

    Networks load the base's tensors with it, so it must have their sizes.
    """
    own = files.documents.get(CONFIG)
    if own is None or own.get("model_type") != base.config.get("model_type"):
        return None
    own = _before_growth(own, base.config, sizes) if sizes else own
    keys = (own.keys() | base.config.keys()) - _OF_THE_FILES
    return own if any(own.get(key) != base.config.get(key) for key in keys) else None


def _sizes(effects: Sequence[Effect], base: BaseView) -> Mapping[int, int]:
    """Return resized dimensions: the rows of a weight now -> its rows in the base."""
    resized = [e for e in effects if isinstance(e, WeightUpdate) and e.shape]
    records = base.tensors
    return {e.shape[0]: records[e.source].shape[0] for e in resized if e.shape and e.source in records}


def _before_growth(
    own: Mapping[str, object], base: Mapping[str, object], sizes: Mapping[int, int]
) -> Mapping[str, object]:
    """Undo in a config the consequences of a grown vocabulary: its size, and new tokens."""
    before = [sizes[size] for size in _vocabularies(own) if sizes.get(size, size) < size]
    return _shrunk(own, base, sizes, min(before)) if before else own


def _vocabularies(config: Mapping[str, object]) -> Iterator[int]:
    for name, value in config.items():
        if is_object(value):
            yield from _vocabularies(value)
        elif name == _VOCABULARY and isinstance(value, int):
            yield value


def _shrunk(
    own: Mapping[str, object], base: Mapping[str, object], sizes: Mapping[int, int], tokens: int
) -> dict[str, object]:
    shrunk: dict[str, object] = {}
    for name, value in own.items():
        own_value = base.get(name)
        if is_object(value):
            shrunk[name] = _shrunk(value, own_value if is_object(own_value) else {}, sizes, tokens)
        elif name == _VOCABULARY and isinstance(value, int):
            shrunk[name] = sizes.get(value, value)
        elif not name.endswith(_TOKENS) or not _has_beyond(value, tokens):
            shrunk[name] = value
        elif name in base:
            shrunk[name] = own_value
    return shrunk


def _has_beyond(value: object, tokens: int) -> bool:
    """Whether a token, or one of several, is beyond this number of tokens."""
    return any(isinstance(t, int) and t >= tokens for t in (*_as_list(value), value))


def _classes(config: Mapping[str, object]) -> Iterator[str]:
    return (name for name in _as_list(config.get("architectures")) if isinstance(name, str))


def _as_list(value: object) -> Iterable[object]:
    return value if is_list(value) else ()


def _is_head(target: str, base: BaseView) -> bool:
    return base.names.is_head(base.names.canonical(target))


def _outputs(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Count the rows of the one matrix that computes a head's outputs; 0 if there is no such one."""
    rows = {
        shape[0]
        for name, shape in shapes.items()
        if len(shape) == 2 and name.endswith(".weight") and name.split(".")[-2] in _OUTPUTS
    }
    return rows.pop() if len(rows) == 1 else 0


def _labels(count: int, files: DeltaFiles) -> tuple[str, ...]:
    """Return the class names in the head's config, else their numbers; empty for too many classes."""
    if count > MOST_LABELS:
        return ()
    numbers = files.documents.get("head_config.json", {}).get("label2id")
    if is_object(numbers):
        labels = {at: label for label, at in numbers.items() if isinstance(at, int)}
        if sorted(labels) == list(range(count)):
            return tuple(labels[at] for at in range(count))
    return tuple(f"LABEL_{at}" for at in range(count))
