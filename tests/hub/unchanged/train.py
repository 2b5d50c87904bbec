"""What somebody runs who knows nothing of the registry: a trainer that pushes by itself."""

import sys

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import Dataset
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

base, name, strategy, folder, out = sys.argv[1:]


class Rows(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, at):
        row = torch.tensor([1, at + 2, at + 3, 4])
        return {"input_ids": row, "labels": row}


torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(base)
model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))
asked = TrainingArguments(
    folder,
    max_steps=4,
    save_steps=2,
    per_device_train_batch_size=2,
    report_to=[],
    push_to_hub=True,
    hub_model_id=name,
    hub_strategy=strategy,
    hub_always_push=True,
    use_cpu=True,
    learning_rate=1e-2,
    disable_tqdm=True,
)
trainer = Trainer(model, asked, train_dataset=Rows())
trainer.train()
done = trainer.push_to_hub()
torch.save(getattr(done, "oid", str(done)), out)
