"""Adapters that mlx-lm makes, and the weights that it fuses them into, for where mlx is installed.

    pip install --target DIR mlx mlx-cpu mlx-lm
    PYTHONPATH=DIR python -m tests.client.convert.make_mlx_golden

Made by mlx-lm 0.32.2 on mlx 0.32.4, on a CPU: it sets up the network, puts its own LoRA layers in,
writes their parameters and fuses them; numbers are drawn by NumPy. The bases are those of
`tests.tiny` and `moe`.
"""

import json
import shutil
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np

from tests import tiny
from tests.client.convert import moe

GOLDEN = Path(__file__).parents[2] / "golden" / "mlx"
LAYER = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")
CASES = {
    "last-layer": ("lora", 1, {"rank": 3, "scale": 10.0, "keys": list(LAYER)}),
    "all-layers": ("lora", 2, {"rank": 2, "scale": 0.3, "keys": None}),
    "by-name": ("lora", 1, {"rank": 2, "scale": 2.0, "keys": ["model.embed_tokens", "lm_head", "mlp.up_proj"]}),
    "experts": ("lora", 2, {"rank": 2, "scale": 4.0, "keys": None}),
    "dora": ("dora", -1, {"rank": 2, "scale": 1.5, "keys": list(LAYER)}),
}


def main():
    """Write all cases."""
    shutil.rmtree(GOLDEN, ignore_errors=True)
    for number, (name, case) in enumerate(CASES.items()):
        make = moe.base if name == "experts" else tiny.base
        _write(GOLDEN / name, make, *case, rng=np.random.default_rng(number))


def _write(folder, make, kind, layers, settings, *, rng):
    mx, utils = import_module("mlx.core"), import_module("mlx.utils")
    mx.random.seed(0)
    tuner = import_module("mlx_lm.tuner.utils")
    network = _network(make)
    network.freeze()
    settings = {**settings, "dropout": 0.0}
    tuner.linear_to_lora_layers(network, layers, settings, use_dora=kind == "dora")
    names = [name for name, _ in utils.tree_flatten(network.trainable_parameters())]
    drawn = dict(utils.tree_flatten(network.trainable_parameters()))
    adapter = {}
    for name in sorted(names):
        noise = (0.3 * rng.standard_normal(drawn[name].shape)).astype(np.float32)
        adapter[name] = drawn[name] + mx.array(noise) * (0.1 if name.endswith(".m") else 1.0)
    folder.mkdir(parents=True)
    mx.save_safetensors(str(folder / "adapters.safetensors"), adapter)
    config = {"fine_tune_type": kind, "num_layers": layers, "lora_parameters": settings}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=4))
    tuner.load_adapters(_network(make), str(folder))  # it takes what it wrote
    network.load_weights(list(adapter.items()), strict=False)
    fused = {
        f"{name}.weight": module.fuse().weight for name, module in network.named_modules() if hasattr(module, "fuse")
    }
    mx.save_safetensors(str(folder / "fused.safetensors"), fused)


def _network(make):
    mx = import_module("mlx.core")
    with tempfile.TemporaryDirectory() as place:
        base = make(Path(place) / "base")
    module = import_module(f"mlx_lm.models.{base.config['model_type']}")
    config = {**base.config, "rms_norm_eps": 1e-6, "rope_theta": 10000.0}
    network = module.Model(module.ModelArgs.from_dict(config))
    weights = network.sanitize({name: mx.array(weight) for name, weight in base.weights.items()})
    network.load_weights(list(weights.items()))
    return network


if __name__ == "__main__":
    main()
