"""Small LoRAs that peft trains and saves, with what it gave recorded in that very process."""

import shutil
from pathlib import Path

import peft
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from deltareg import golden

BASES = Path(__file__).parents[1] / "samples" / "bases"
TEXT = "the brown dog jumps over the lazy fox and the fox jumps over the brown dog"


def train(folder, *, dtype=torch.float32, base="tinyllama", steps=40, **config):
    """Train a LoRA on one sentence, save it, and record; give the model and its tokenizer."""
    torch.manual_seed(5)
    tokenizer = AutoTokenizer.from_pretrained(BASES / base)
    network = AutoModelForCausalLM.from_pretrained(BASES / base, dtype=dtype)
    wanted = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]}
    model = peft.get_peft_model(network, peft.LoraConfig(task_type="CAUSAL_LM", **{**wanted, **config}))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-2)
    inputs = tokenizer(TEXT, return_tensors="pt")
    for _ in range(steps):
        optimizer.zero_grad()
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    golden.record(model, tokenizer, None, folder)
    return model, tokenizer


def copied(source, folder):
    """Copy a delta's folder."""
    shutil.copytree(source, folder)
    return folder
