"""What mergekit makes of three small fine-tunes, written down: `tests/golden/mergekit/CASE.safetensors`.

    python -m tests.golden.make_mergekit [FOLDER]

Run it from the root of the repository, in an environment with mergekit 0.1.5 (it needs nothing of
ours). mergekit itself runs, on folders as people have them. In one thing it is guided: where DELLA
draws at random, it gets the draws that the registry documents (`deltareg.delta.merge.steps`), so that
numbers can be compared at all. Existing files are written over.
"""

# mergekit lies in an environment of its own.
# mypy: disable-error-code="import-not-found,assignment"

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

FOLDER = Path(__file__).parent / "mergekit"
KEYS = ("a", "b", "c")
SEED = 11
HIDDEN, INNER, WORDS = 8, 12, 20
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": WORDS,
    "max_position_embeddings": 32,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "dtype": "float32",
}
WEIGHTS = (0.7, 0.4, 0.2)

# Case -> mergekit's method, its parameters, the versions, our parameters, our weights.
CASES = {
    "model_stock": ("model_stock", {}, KEYS, {}, (1.0, 1.0, 1.0)),
    "karcher": ("karcher", {"tol": 1e-9, "max_iter": 50}, KEYS, {}, (1.0, 1.0, 1.0)),
    "nuslerp": ("nuslerp", {}, ("a", "b"), {}, (0.7, 0.4)),
    "sce": ("sce", {"select_topk": 0.4}, KEYS, {"density": 0.4}, (1.0, 1.0, 1.0)),
    "sce_whole": ("sce", {"select_topk": 1.0}, KEYS, {"density": 1.0}, (1.0, 1.0, 1.0)),
    "breadcrumbs": ("breadcrumbs", {"density": 0.6, "gamma": 0.05}, KEYS, {"density": 0.6, "gamma": 0.05}, WEIGHTS),
    "breadcrumbs_wide": (
        "breadcrumbs",
        {"density": 0.9, "gamma": 0.2, "lambda": 0.5},
        KEYS,
        {"density": 0.9, "gamma": 0.2, "scale": 0.5},
        WEIGHTS,
    ),
    "breadcrumbs_ties": (
        "breadcrumbs_ties",
        {"density": 0.6, "gamma": 0.05, "normalize": True},
        KEYS,
        {"density": 0.6, "gamma": 0.05, "normalize": True},
        WEIGHTS,
    ),
    "ties": ("ties", {"density": 0.6}, KEYS, {"density": 0.6}, WEIGHTS),
    "della": ("della", {"density": 0.6, "epsilon": 0.2}, KEYS, {"density": 0.6, "epsilon": 0.2, "seed": SEED}, WEIGHTS),
    "della_linear": (
        "della_linear",
        {"density": 0.6, "epsilon": 0.2, "lambda": 1.5},
        KEYS,
        {"density": 0.6, "epsilon": 0.2, "scale": 1.5, "seed": SEED},
        WEIGHTS,
    ),
}


def models():
    """Make the base and three fine-tunes that have something in common: name -> tensors."""
    shapes = _shapes()
    base = {name: 0.5 * _normal(name, shape) for name, shape in shapes.items()}
    found = {"base": base}
    for key in KEYS:
        own = {n: 0.05 * _normal(f"all {n}", s) + 0.08 * _normal(f"{key} {n}", s) for n, s in shapes.items()}
        if key == "c":
            own["model.norm.weight"] *= 0  # a version that leaves a weight alone
        found[key] = {name: (base[name] + own[name]).astype(np.float32) for name in shapes}
    return found


def draws(key, target, shape):
    """Give the numbers that decide in a merge which elements of a change are kept."""
    secret = hashlib.sha256(f"{SEED}\0{key}\0{target}".encode()).digest()[:16]
    numbers = np.random.Philox(key=int.from_bytes(secret, "little")).random_raw(int(np.prod(shape)))
    return numbers.reshape(shape)


def make(folder):
    """Run every case, and write what mergekit made of it."""
    held = models()
    with tempfile.TemporaryDirectory() as root:
        for name, tensors in held.items():
            place = Path(root) / name
            place.mkdir()
            save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
            (place / "config.json").write_text(json.dumps(CONFIG))
        _guide(held)
        for case, (method, parameters, keys, _, weights) in CASES.items():
            out = Path(root) / f"out-{case}"
            _run(Path(root), out, method, parameters, dict(zip(keys, weights, strict=True)))
            _keep(out, folder / f"{case}.safetensors")


def _run(root, out, method, parameters, weights):
    from mergekit.config import MergeConfiguration
    from mergekit.merge import MergeOptions, run_merge

    is_weighted = method not in {"model_stock", "karcher", "sce"}
    sources = [
        {"model": str(root / key), "parameters": {"weight": weight} if is_weighted else {}}
        for key, weight in weights.items()
    ]
    document = {"merge_method": method, "models": sources, "parameters": parameters, "dtype": "float32"}
    if method != "karcher":
        document["base_model"] = str(root / "base")
    options = MergeOptions(copy_tokenizer=False, write_model_card=False, quiet=True)
    run_merge(MergeConfiguration.model_validate(document), str(out), options=options)


def _keep(out, file):
    from safetensors.numpy import load_file

    tensors = {name: values for part in sorted(out.glob("*.safetensors")) for name, values in load_file(part).items()}
    assert tensors, f"mergekit wrote nothing to {out}"
    file.parent.mkdir(exist_ok=True)
    save_file(tensors, file)


def _guide(held):
    """Let DELLA draw what the registry draws: which change it has in hand is known by its values."""
    import torch
    from mergekit import sparsify

    changes = {(held[key][name] - held["base"][name]).tobytes(): (key, name) for key in KEYS for name in held[key]}
    drop, now = sparsify.della_magprune, []

    def guided(tensor, *args, **kwargs):
        now.append(changes[tensor.numpy().tobytes()])
        return drop(tensor, *args, **kwargs)

    def bernoulli(chances):
        numbers = draws(*now.pop(), tuple(chances.shape))
        return torch.from_numpy(numbers < (chances.double().numpy() * 2.0**64).astype(np.uint64)).to(chances.dtype)

    sparsify.della_magprune, torch.bernoulli = guided, bernoulli


def _shapes():
    layer = "model.layers.0."
    square, wide = (HIDDEN, HIDDEN), (INNER, HIDDEN)
    return {
        "model.embed_tokens.weight": (WORDS, HIDDEN),
        **{f"{layer}self_attn.{name}_proj.weight": square for name in "qkvo"},
        **{f"{layer}mlp.{name}_proj.weight": wide for name in ("gate", "up")},
        f"{layer}mlp.down_proj.weight": wide[::-1],
        f"{layer}input_layernorm.weight": (HIDDEN,),
        f"{layer}post_attention_layernorm.weight": (HIDDEN,),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (WORDS, HIDDEN),
    }


def _normal(name, shape):
    """Draw normal numbers from SHAKE-128, by Box and Muller: the same for ever."""
    count = int(np.prod(shape))
    raw = np.frombuffer(hashlib.shake_128(name.encode()).digest(16 * count), "<u8").astype(np.float64)
    one, two = (raw[:count] + 1) / 2.0**64, raw[count:] / 2.0**64
    return (np.sqrt(-2 * np.log(one)) * np.cos(2 * np.pi * two)).reshape(shape).astype(np.float32)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
