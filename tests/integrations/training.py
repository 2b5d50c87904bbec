"""A training of a second: a LoRA of `tinyllama`, by the Trainer that everybody uses."""

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments, default_data_collator

from tests.integrations.conftest import BASE

QUIET = {
    "per_device_train_batch_size": 2,
    "per_device_eval_batch_size": 2,
    "report_to": [],
    "use_cpu": True,
    "learning_rate": 1e-2,
    "disable_tqdm": True,
    "logging_steps": 1,
    "dataloader_pin_memory": False,
}


class Rows(Dataset):
    """Eight rows of tokens that are like each other."""

    def __len__(self):
        return 8

    def __getitem__(self, at):
        row = torch.tensor([1, at + 2, at + 3, 4])
        return {"input_ids": row, "labels": row}


def adapter(seed=0):
    """Put a LoRA on the base, by its folder's name."""
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_pretrained(BASE)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    return get_peft_model(network, config)


def tokenizer():
    """Give the base's tokenizer."""
    return AutoTokenizer.from_pretrained(BASE)


def trainer(folder, *callbacks, model=None, rows=None, **options):
    """Make a Trainer of four steps."""
    asked = TrainingArguments(str(folder), **({"max_steps": 4} | QUIET | options))
    return Trainer(
        adapter() if model is None else model,
        asked,
        train_dataset=rows or Rows(),
        eval_dataset=Rows(),
        processing_class=tokenizer(),
        data_collator=default_data_collator,
        callbacks=list(callbacks),
    )
