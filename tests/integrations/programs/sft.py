"""What somebody runs who fine-tunes with TRL: by the callback, or by `push_to_hub` alone."""

import json
import sys

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

base, name, way, folder = sys.argv[1:]
texts = ["the brown dog jumps over the lazy fox", "the lazy fox sleeps under the brown tree"]
tokenizer = AutoTokenizer.from_pretrained(base)
tokenizer.pad_token = tokenizer.pad_token or tokenizer.convert_ids_to_tokens(0)
hub = {"push_to_hub": True, "hub_model_id": name, "hub_always_push": True} if way == "hub" else {}
config = SFTConfig(
    folder,
    max_steps=4,
    save_steps=2,
    per_device_train_batch_size=2,
    report_to=[],
    use_cpu=True,
    disable_tqdm=True,
    max_length=16,
    bf16=False,
    logging_steps=1,
    **hub,
)
callbacks = []
if way == "callback":
    from deltareg.integrations.transformers import PushCallback

    callbacks = [PushCallback(name, base="tinyllama", always_push=True)]
trainer = SFTTrainer(
    AutoModelForCausalLM.from_pretrained(base),
    config,
    train_dataset=Dataset.from_dict({"text": texts * 4}),
    processing_class=tokenizer,
    peft_config=LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"),
    callbacks=callbacks,
)
trainer.train()
if way == "hub":
    trainer.push_to_hub()
print(json.dumps([one for callback in callbacks for one in callback.versions]))
