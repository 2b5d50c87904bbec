"""What somebody runs who knows nothing of the registry: an adapter is made, and pushed."""

import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

base, tokenizer, name, folder, out = sys.argv[1:]
torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(base)
model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))
with torch.no_grad():
    for key, value in model.named_parameters():
        if "lora_B" in key:
            value.normal_()
if tokenizer != "-":
    AutoTokenizer.from_pretrained(base).push_to_hub(name)
done = model.push_to_hub(name)
model.save_pretrained(folder)
torch.save(done.oid, out)
