"""A LoRA of a network that sees is taken by the names that peft finds, and by no others."""

import json

import pytest
from safetensors.numpy import load_file, save_file

from deltareg.client import Client
from deltareg.client.config import ClientConfig
from deltareg.delta.delta_manifest import assess
from deltareg.errors import Refused
from tests import small_networks
from tests.delta.kinds.peft_oracle import llama, peft, quiet, torch, transformers
from tests.folders import open_base, open_folder

HOME = "model.language_model."
PREFIX = "base_model.model."
SPELLINGS = {
    "as it is": HOME,
    "transformers 4": "language_model.model.",
    "the language model alone": "model.",
    "one level less": "language_model.",
    "one level more": "model.language_model.model.",
    "bare": "",
}
NETWORKS = ["gemma3 vision", "internvl", "llava", "mllama", "qwen2_vl", "qwen3_vl"]
# What peft takes to the names of today; of the others it makes nothing, without an error.
BY_RELEASE = {"as it is", "transformers 4", "one level more"}
FOUND = {
    "gemma3 vision": BY_RELEASE,
    "internvl": BY_RELEASE,
    "llava": BY_RELEASE,
    "mllama": BY_RELEASE,
    "qwen2_vl": {"as it is"},
    "qwen3_vl": {"as it is"},
}


@pytest.fixture
def client(tmp_path):
    with Client(ClientConfig(cache_dir=tmp_path / "cache")) as client:
        yield client


class Trained:
    """A LoRA of the language model of a small network."""

    def __init__(self, folder, name):
        self.folder = folder
        with small_networks.quiet(), quiet():
            network = small_networks.made(name)
            network.save_pretrained(folder / "base")
            self.cls = type(network)
            config = peft.LoraConfig(
                r=2,
                task_type="CAUSAL_LM",
                target_modules=["layers.0.self_attn.q_proj", "layers.2.self_attn.q_proj"],
                exclude_modules=r".*(vision|visual).*",
            )
            model = peft.get_peft_model(network, config)
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.requires_grad:
                        parameter.normal_()
            model.save_pretrained(folder / "native")
        self.tensors = load_file(folder / "native" / "adapter_model.safetensors")
        self.config = json.loads((folder / "native" / "adapter_config.json").read_text())

    def spelled(self, prefix):
        """Write it under other names; give the folder."""
        path = self.folder / "spelled"
        path.mkdir()
        held = {n.replace(PREFIX + HOME, PREFIX + prefix): t for n, t in self.tensors.items()}
        save_file(held, path / "adapter_model.safetensors")
        (path / "adapter_config.json").write_text(json.dumps(self.config))
        return path

    def loaded(self, path):
        """Give what the library has loaded of it, by name."""
        with small_networks.quiet():
            plain = self.cls.from_pretrained(self.folder / "base")
            model = peft.PeftModel.from_pretrained(plain, path)
        return {n: t for n, t in model.state_dict().items() if "lora_B" in n}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_names_are_taken_exactly_where_the_library_finds_them(tmp_path, name, spelling):
    made = Trained(tmp_path, name)
    path = made.spelled(SPELLINGS[spelling])
    base, _ = open_base(tmp_path / "base")

    folder = open_folder(path)
    errors = assess(folder.files, folder.tensors, base).errors

    loaded = made.loaded(path)
    is_found = [bool(tensor.abs().sum()) for tensor in loaded.values()]
    assert len({*is_found}) == 1
    assert (not errors) == is_found[0] == (spelling in FOUND[name])


@pytest.mark.parametrize("spelling", ["the language model alone", "bare", "one level less"])
@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "mllama"])
def test_a_refusal_says_where_the_base_has_the_module(tmp_path, name, spelling):
    made = Trained(tmp_path, name)
    base, _ = open_base(tmp_path / "base")
    folder = open_folder(made.spelled(SPELLINGS[spelling]))

    (problem,) = assess(folder.files, folder.tensors, base).errors

    assert problem.code in {"not_selected", "no_tensor_applied"}
    told = f"{problem.message} {problem.fix}"
    assert f"{HOME}layers.0.self_attn.q_proj" in told
    assert "deltareg convert PATH --out DIR --base BASE" in told


def test_a_lora_of_a_network_that_sees_is_not_one_of_a_language_model(tmp_path):
    made = Trained(tmp_path, "llava")
    with small_networks.quiet():
        llama().save_pretrained(tmp_path / "llama")
    base, _ = open_base(tmp_path / "llama")
    folder = open_folder(made.spelled(HOME))

    (problem,) = assess(folder.files, folder.tensors, base).errors

    assert problem.code == "no_tensor_applied"
    assert "layers.0.self_attn.q_proj there" in problem.message
    assert "deltareg convert" in problem.fix


@pytest.mark.parametrize("spelling", ["the language model alone", "bare", "one level less"])
@pytest.mark.parametrize("name", ["llava", "qwen2_vl"])
def test_convert_gives_the_names_that_the_library_finds(tmp_path, client, name, spelling):
    made = Trained(tmp_path, name)
    path = made.spelled(SPELLINGS[spelling])

    report = client.folders.convert(path, tmp_path / "named", base=tmp_path / "base")

    held = load_file(tmp_path / "named" / "adapter_model.safetensors")
    assert held.keys() == made.tensors.keys()
    assert all((held[name] == made.tensors[name]).all() for name in held)
    assert report.result.startswith(f"{HOME}layers.0.self_attn.q_proj")
    assert all(bool(tensor.abs().sum()) for tensor in made.loaded(tmp_path / "named").values())


def test_convert_makes_a_lora_of_the_language_model_alone(tmp_path, client):
    made = Trained(tmp_path, "llava")
    with small_networks.quiet():
        text = {**small_networks.SMALL, **small_networks.WORDS}
        transformers.LlamaForCausalLM(transformers.LlamaConfig(**text)).save_pretrained(tmp_path / "llama")
    path = made.spelled(HOME)

    client.folders.convert(path, tmp_path / "named", base=tmp_path / "llama")

    held = load_file(tmp_path / "named" / "adapter_model.safetensors")
    assert {n.replace(PREFIX + "model.", PREFIX + HOME) for n in held} == made.tensors.keys()


def test_convert_asks_for_the_modules_by_their_new_names(tmp_path, client):
    made = Trained(tmp_path, "llava")
    made.config |= {
        "target_modules": ["model.layers.0.self_attn.q_proj", "layers.2.self_attn.q_proj"],
        "exclude_modules": None,
    }

    client.folders.convert(made.spelled("model."), tmp_path / "named", base=tmp_path / "base")

    config = json.loads((tmp_path / "named" / "adapter_config.json").read_text())
    assert config["target_modules"] == ["language_model.layers.0.self_attn.q_proj", "layers.2.self_attn.q_proj"]


def test_a_lora_of_another_width_is_not_converted(tmp_path, client):
    made = Trained(tmp_path, "llava")
    made.tensors = {n: t.repeat(2, axis=-1) for n, t in made.tensors.items()}

    with pytest.raises(Refused, match=r"rank|shape"):
        client.folders.convert(made.spelled("model."), tmp_path / "named", base=tmp_path / "base")

    assert not (tmp_path / "named").exists()
