"""Files that LyCORIS makes, and the weights that its layers act with, for where it is installed.

    pip install --target DIR --no-deps lycoris-lora einops toml
    PYTHONPATH=DIR python -m tests.client.convert.make_lycoris_golden

Made by lycoris-lora 4.1.3 on torch: its own wrapper puts its layers on linear modules and writes
its state dict; the weights are what the wrapped modules do to an identity. (`merge_to` of that
release multiplies LoHa and LoKr by their scale twice; training and other programs do so once.)
"""

import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests import tiny

GOLDEN = Path(__file__).parents[2] / "golden" / "lycoris"
CASES = {
    "locon": ("lora", {"linear_dim": 2, "linear_alpha": 3.0}),
    "loha": ("loha", {"linear_dim": 2, "linear_alpha": 3.0}),
    "loha-stable": ("loha", {"linear_dim": 3, "linear_alpha": 2.0, "rs_lora": True}),
    "lokr": ("lokr", {"linear_dim": 1, "linear_alpha": 0.5, "factor": 2}),
    "lokr-whole": ("lokr", {"linear_dim": 100000, "linear_alpha": 5.0, "factor": 2}),
    "dora": ("lora", {"linear_dim": 2, "linear_alpha": 3.0, "dora_wd": True}),
}


def main():
    """Write all cases."""
    shutil.rmtree(GOLDEN, ignore_errors=True)
    for name, (method, settings) in CASES.items():
        _write(GOLDEN / name, method, settings)


def _write(folder, method, settings):
    torch, lycoris = import_module("torch"), import_module("lycoris")
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    network, places = _network(torch, folder)
    lycoris.LycorisNetwork.apply_preset({"target_name": ["model.*"], "target_module": []})
    wrapped = lycoris.create_lycoris(network, 1.0, algo=method, **settings)
    wrapped.apply_to()
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            drawn = torch.randn_like(parameter) * 0.3
            parameter.copy_(parameter * (1 + 0.1 * drawn) if "dora" in name else drawn)
        acting = {
            f"{place}.weight": module(torch.eye(module.in_features)).T.contiguous().numpy()
            for place, module in places.items()
        }
    stored = {name: tensor.detach().numpy() for name, tensor in wrapped.state_dict().items()}
    save_file({name: np.array(tensor, order="C") for name, tensor in stored.items()}, folder / "lycoris.safetensors")
    save_file(acting, folder / "acting.safetensors")


def _network(torch, folder):
    """Make a network of the linear modules of one block, under their names."""
    base = tiny.base(folder / "base")
    shutil.rmtree(folder / "base")
    root, places = torch.nn.Module(), {}
    for place in base.modules("q_proj", "up_proj", "down_proj"):
        weight = torch.tensor(base.weights[f"{place}.weight"])
        module = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        module.weight.data.copy_(weight)
        above = root
        for part in place.split(".")[:-1]:
            if not hasattr(above, part):
                above.add_module(part, torch.nn.Module())
            above = getattr(above, part)
        above.add_module(place.rpartition(".")[2], module)
        places[place] = module
    return root, places


if __name__ == "__main__":
    main()
