"""What somebody runs who knows nothing of the registry: an adapter by its name, and its logits."""

import sys

import torch
from peft import PeftConfig, PeftModel
from transformers import AutoModelForCausalLM

base, adapter, revision, out = sys.argv[1:]
assert PeftConfig.from_pretrained(adapter, revision=revision).peft_type == "LORA"
model = AutoModelForCausalLM.from_pretrained(base)
model = PeftModel.from_pretrained(model, adapter, revision=revision).eval()
with torch.no_grad():
    torch.save(model(torch.tensor([[1, 5, 9, 3]])).logits, out)
