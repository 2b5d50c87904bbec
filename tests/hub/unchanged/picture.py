"""What somebody runs who knows nothing of the registry: a network by its name, a LoRA on it."""

import sys

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

base, adapter, revision, out = sys.argv[1:]
network = UNet2DConditionModel.from_pretrained(base).eval()
pipeline = StableDiffusionPipeline(
    unet=network,
    scheduler=DDIMScheduler(),
    vae=None,
    text_encoder=None,
    tokenizer=None,
    safety_checker=None,
    feature_extractor=None,
    requires_safety_checker=False,
)
if revision == "-":  # a folder
    pipeline.load_lora_weights(adapter)
else:
    pipeline.load_lora_weights(adapter, revision=revision)
sample = torch.randn(1, network.config.in_channels, 8, 8, generator=torch.Generator().manual_seed(0))
states = torch.ones(1, 4, network.config.cross_attention_dim)
with torch.no_grad():
    torch.save(network(sample, 3, encoder_hidden_states=states).sample, out)
