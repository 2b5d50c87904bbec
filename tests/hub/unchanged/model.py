"""What somebody runs who knows nothing of the registry: a model and its tokenizer by their name."""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

name, revision, words, out = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(words)
assert len(tokenizer) > 0
model = AutoModelForCausalLM.from_pretrained(name, revision=revision).eval()
with torch.no_grad():
    torch.save(model(torch.tensor([[1, 5, 9, 3]])).logits, out)
