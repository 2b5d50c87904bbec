"""How far outputs of a delta move by other kernels alone: where the bounds of `golden` come from.

    python -m tests.benchmarks.bench_golden

Small LoRAs are trained, and what plain peft gives with them is held against eager attention, merged
weights, a padded batch, and the LoRA in the base's dtype. Printed by dtype; docs/adr/0050 has it.
"""

import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import peft
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from deltareg.golden import PROMPTS
from deltareg.suites.golden import GoldenComparison, GoldenOutputs, compare, distance, sample_of
from tests.verify.trained_loras import BASES, train

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
TARGETS = {"tinyllama": {}, "tinygpt2": {"target_modules": ["c_attn", "c_fc"]}}


def main():
    """Measure and print."""
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    found: dict[str, list[tuple[GoldenComparison, float]]] = {}
    for base, config in TARGETS.items():
        with tempfile.TemporaryDirectory() as folder:
            train(Path(folder), base=base, **config)
            for name, dtype in DTYPES.items():
                for way, one, effect in ways(Path(folder), base, dtype):
                    scale = max(1.0, one.scale)
                    told = f"rms {one.distance / scale:.2g}, largest {one.difference:.2g}"
                    told += f", agree {one.agreement:.3f}, effect {effect / scale:.2g}"
                    sys.stdout.write(f"{base} {name} {way}: {told}\n")
                    found.setdefault(name, []).append((one, scale))
    for name, pairs in found.items():
        rms = max(one.distance / scale for one, scale in pairs)
        largest, agree = max(o.difference for o, _ in pairs), min(o.agreement for o, _ in pairs)
        sys.stdout.write(f"{name}: rms {rms:.2g}, largest {largest:.2g}, agree {agree:.3f}\n")


def ways(folder: Path, base: str, dtype: torch.dtype) -> Iterator[tuple[str, GoldenComparison, float]]:
    """Give each other way to compute the same, how far it is off, and the delta's effect."""

    def load(attention="sdpa"):
        network = AutoModelForCausalLM.from_pretrained(BASES / base, dtype=dtype, attn_implementation=attention)
        return peft.PeftModel.from_pretrained(network, folder)

    tokenizer = AutoTokenizer.from_pretrained(BASES / base)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.convert_ids_to_tokens(0)
    tokenizer.padding_side = "right"
    each = [tokenizer(text, return_tensors="pt") for text in PROMPTS]
    plain = load()
    wanted = [sample_of(arrays(one), {"logits": logits(plain, one)}) for one in each]
    golden = GoldenOutputs(tuple(wanted))
    with plain.disable_adapter():
        effect = distance(golden, [{"logits": logits(plain, one)} for one in each])
    batch = logits(plain, tokenizer(list(PROMPTS), return_tensors="pt", padding=True))
    cut = [batch[row : row + 1, : one["input_ids"].shape[1]] for row, one in enumerate(each)]
    others = {"eager": load("eager"), "merged": load().merge_and_unload(), "cast": load().to(dtype)}
    made = {name: [logits(model, one) for one in each] for name, model in others.items()}
    for name, values in {**made, "padded": cut}.items():
        yield name, compare(golden, [{"logits": value} for value in values]), effect


def logits(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> np.ndarray:
    """Run once, without a cache."""
    with torch.no_grad():
        return model.eval()(**inputs, use_cache=False).logits.float().numpy()


def arrays(inputs: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Give inputs as they are kept."""
    return {name: value.numpy() for name, value in inputs.items()}


if __name__ == "__main__":
    main()
