"""What a network has that a delta can act on: by the names that configs of peft use."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.small_networks import torch

nn = torch.nn
_HEADS = ("classifier", "score", "qa_outputs", "classification_head", "vqa_classifier", "fc", "projector")
_NORMS = ("norm", "ln_", "layernorm", "layer_norm", "LayerNorm", "ln")
_TASKS = {
    "ForCausalLM": "CAUSAL_LM",
    "LMHeadModel": "CAUSAL_LM",
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
    "MTModel": "SEQ_2_SEQ_LM",
}


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What there is.

    Attributes:
        linears: Last parts of the names of linear layers, the head left out; the commonest first.
        convolutions: The same of convolutions of two dimensions in one group.
        norms: The same of norms.
        embedding: Path of the input embedding; empty when there is none.
        output: Path of the output embedding; empty when there is none.
        heads: Top names of heads for a task.
        is_tied: Whether the output shares its weight with the input.
        experts: Ends of the names of stacks of experts.
        task: peft's word for what the class does; empty when it has none.
        vocabulary: Rows of the input embedding.
    """

    linears: tuple[str, ...]
    convolutions: tuple[str, ...]
    norms: tuple[str, ...]
    embedding: str
    output: str
    heads: tuple[str, ...]
    is_tied: bool
    experts: tuple[str, ...]
    task: str
    vocabulary: int


def anatomy_of(network: Any) -> Anatomy:
    """Look at a network."""
    modules = dict(network.named_modules())
    embedding, output = _embedding(network), _output(network)
    paths = {id(module): path for path, module in modules.items()}
    head = paths.get(id(output), "")
    top = tuple(n for n in _HEADS if n in dict(network.named_children()))
    inner = {p: m for p, m in modules.items() if p != head and p.partition(".")[0] not in top}
    is_tied = output is not None and embedding is not None and output.weight is embedding.weight
    return Anatomy(
        linears=_ends(p for p, m in inner.items() if _is_linear(m)),
        convolutions=_ends(p for p, m in inner.items() if isinstance(m, nn.Conv2d) and m.groups == 1),
        norms=_ends(
            p
            for p in inner
            if p.rpartition(".")[2].startswith(_NORMS) or p.rpartition(".")[2].endswith(("norm", "Norm"))
        ),
        embedding=paths.get(id(embedding), ""),
        output=head,
        heads=top,
        is_tied=is_tied,
        experts=_ends((p for p, t in network.named_parameters() if _is_stack(p, t)), parts=2),
        task=_task(type(network).__name__, network),
        vocabulary=0 if embedding is None else int(embedding.weight.shape[0]),
    )


def _ends(paths: Any, *, parts: int = 1) -> tuple[str, ...]:
    """Give the ends of names, the commonest first; a number is no end of its own."""
    found: Counter[str] = Counter()
    for path in paths:
        pieces = path.split(".")
        count = parts if not pieces[-1].isdecimal() else parts + 1
        if len(pieces) > count:
            found[".".join(pieces[-count:])] += 1
    return tuple(name for name, _ in sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def _is_linear(module: Any) -> bool:
    return type(module) is nn.Linear or type(module).__name__ == "Conv1D"


def _is_stack(path: str, tensor: Any) -> bool:
    return tensor.dim() == 3 and "experts." in path and path.endswith(("gate_up_proj", "down_proj"))


def _embedding(network: Any) -> Any:
    try:
        found = network.get_input_embeddings()
    except (NotImplementedError, AttributeError):
        return None
    return found if type(found) is nn.Embedding else None


def _output(network: Any) -> Any:
    try:
        found = network.get_output_embeddings()
    except (NotImplementedError, AttributeError):
        return None
    return found if type(found) is nn.Linear else None


def _task(name: str, network: Any) -> str:
    if name.endswith("ForConditionalGeneration") and network.config.is_encoder_decoder:
        return "SEQ_2_SEQ_LM"
    if name.endswith("ForQuestionAnswering") and not hasattr(network, "qa_outputs"):
        return ""  # it answers with words or classes, which peft's word does not mean
    return next((task for end, task in _TASKS.items() if name.endswith(end)), "")
