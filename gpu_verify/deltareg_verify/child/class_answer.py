"""The answer of a network that writes no text: its classes, or why there is no answer."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import Inconclusive
from deltareg.suites.base_probes import modalities_of
from deltareg.wire.findings import CLASSES_MOST, ClassShare, plain_text
from deltareg_verify.engine.continuing import Inputs
from deltareg_verify.engine.engine import F32, F64, DeltaEngine, State

_COMPARE = "what versions make of your texts shows `deltareg diff A B --mode behavior --prompts FILE`"
_COMPARE_FILE = "what versions make of yours shows `deltareg diff A B --mode behavior --prompts FILE`"
_TAKEN = {"image": "images", "audio": "sounds"}
_VECTORS = "makes vectors of texts"
_DOES = {
    "MaskedLM": "fills gaps in texts",
    "TokenClassification": "names a class for each word",
    "QuestionAnswering": "finds answers within a text",
}
_NAME_CHARACTERS = 200
_SEVERAL = "multi_label_classification"
_DIGITS = 6


def classes_named(engine: DeltaEngine, state: State, inputs: Inputs) -> list[ClassShare] | None:
    """Return the classes that a network predicts for a text, likeliest first; None without classes.

    A network with one output gives its value.
    """
    scores = _scores(engine, state, inputs)
    if scores is None or scores.ndim != 2 or not np.isfinite(scores).all():
        return None
    names, shares = _names(engine.config, scores.shape[1]), _shares(scores[0], engine.config)
    order: NDArray[np.intp] = np.argsort(-shares, kind="stable")[:CLASSES_MOST]
    return [ClassShare(name=names[at], share=round(float(shares[at]), _DIGITS)) for at in map(int, order)]


def why_nothing(engine: DeltaEngine, name: str, inputs: Inputs | None) -> str:
    """Explain why a network cannot be asked, and how to compare versions of it instead.

    Args:
        engine: The network.
        name: What it is called.
        inputs: The inputs for a text; None without a tokenizer.
    """
    modalities = modalities_of(engine.config)
    if "text" not in modalities or (inputs is not None and "input_ids" not in inputs):
        what = " and ".join(_TAKEN[one] for one in modalities if one != "text")
        return f"{name} takes {what or 'something else'} and no text; {_COMPARE_FILE}"
    if inputs is None:
        return f"{name} comes with no tokenizer that is known here, so it is told no text"
    kind = _architecture(engine.config)
    does = next((does for ending, does in _DOES.items() if kind.endswith(ending)), _VECTORS)
    return f"{name} {does} and writes no text; {_COMPARE}"


def _scores(engine: DeltaEngine, state: State, inputs: Inputs) -> F32 | None:
    """Return the scores of a forward; None for a network that needs more than a text."""
    try:
        return engine.outputs_for(state, inputs).get("logits")
    except (Inconclusive, MemoryError):
        raise
    except Exception:  # noqa: BLE001  # what takes an image beside it says so in its own way
        return None


def _shares(scores: F32, config: Mapping[str, object]) -> F64:
    values = scores.astype(np.float64)
    if len(values) == 1:
        return values
    if config.get("problem_type") == _SEVERAL:  # each is there or not, whatever the others are
        return 1 / (1 + np.exp(-values))
    powers = np.exp(values - values.max())
    shares: F64 = powers / powers.sum()
    return shares


def _names(config: Mapping[str, object], count: int) -> list[str]:
    known = config.get("id2label")
    labels = known if is_object(known) else {}
    names = (labels.get(str(at)) or f"class {at}" for at in range(count))
    return [plain_text(str(name))[:_NAME_CHARACTERS] for name in names]


def _architecture(config: Mapping[str, object]) -> str:
    architectures = config.get("architectures")
    return str(architectures[0]) if is_list(architectures) and architectures else ""
