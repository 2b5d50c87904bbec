"""What a folder holds and what of it goes along: nothing is carried, left or followed silently."""

import os
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from deltareg.client.folders.folder import open_folder
from deltareg.errors import Conflict, InvalidInput, NotFound, Refused
from tests.fixtures.registries import SAMPLES

LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
PICKLE = b"\x80\x04\x95\x0a\x00"


@pytest.fixture
def lora(tmp_path):
    """Copy a healthy adapter to add things to."""
    return shutil.copytree(LORA, tmp_path / "lora")


def opened(path, **options):
    with open_folder(path, **options) as folder:
        return sorted(folder.contents), folder.left_out


def refusal(path, **options):
    with pytest.raises(Refused) as refused:
        open_folder(path, **options)
    return refused.value.problem_code


def test_a_clean_folder(lora):
    carried, left_out = opened(lora)

    assert carried == ["adapter_config.json", "adapter_model.safetensors"]
    assert left_out == []


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "LICENSE",
        "NOTICE",
        "tokenizer.json",
        "vocab.txt",
        "notes.yaml",
        "chat_template.jinja",
        "tokenizer.model",
        "sub/notes.txt",
    ],
)
def test_what_goes_along(lora, name):
    (lora / name).parent.mkdir(exist_ok=True)
    (lora / name).write_text('{"a": 1}')

    carried, left_out = opened(lora)

    assert name in carried
    assert left_out == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("optimizer.pt", "trainer state"),
        ("rng_state_0.pth", "trainer state"),
        ("scheduler.pt", "trainer state"),
        ("trainer_state.json", "trainer state"),
        ("training_args.bin", "trainer state"),
        ("zero_to_fp32.py", "trainer state"),
        ("events.out.tfevents.1", "trainer state"),
        (".gitattributes", "hidden"),
        (".env", "hidden"),
        (".hidden.py", "hidden"),
        ("picture.png", "not a file that deltas"),
        ("data.csv", "not a file that deltas"),
        ("noext", "not a file that deltas"),
    ],
)
def test_what_is_left_out_and_named(lora, name, why):
    (lora / name).write_bytes(PICKLE)

    carried, left_out = opened(lora)

    assert name not in carried
    assert len(left_out) == 1
    assert left_out[0].startswith(f"{name} ({why}")


@pytest.mark.parametrize("name", ["checkpoint-100", "global_step7", "runs", "wandb", ".git"])
def test_a_folder_of_the_trainer_is_named_once(lora, name):
    shutil.copytree(LORA, lora / name)

    carried, left_out = opened(lora)

    assert not [path for path in carried if "/" in path]
    assert [line.partition(" ")[0] for line in left_out] == [name]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("model.py", "code_file"),
        ("lib.so", "code_file"),
        ("run.sh", "code_file"),
        ("sub/deep/x.py", "code_file"),
        ("x.ipynb", "code_file"),
        ("weights.zip", "not_safetensors"),
        ("weights.tar.gz", "not_safetensors"),
        ("adapter_model.bin", "ambiguous"),
        ("other.pt", "ambiguous"),
        ("x.npz", "ambiguous"),
        ("sub/x.ckpt", "ambiguous"),
    ],
)
def test_what_refuses_the_whole(lora, name, code):
    (lora / name).parent.mkdir(parents=True, exist_ok=True)
    (lora / name).write_bytes(PICKLE)

    assert refusal(lora) == code


def test_a_pickle_alone_names_the_way_out(tmp_path):
    (tmp_path / "adapter_model.bin").write_bytes(PICKLE)

    with pytest.raises(Refused) as refused:
        open_folder(tmp_path)

    assert refused.value.problem_code == "pickle"
    assert "deltareg convert" in refused.value.fix


@pytest.mark.parametrize("name", ["README.md", "tokenizer.json", "LICENSE"])
def test_a_pickle_under_another_name(lora, name):
    (lora / name).write_bytes(PICKLE + b"x" * 100)

    assert refusal(lora) == "pickle"


@pytest.mark.parametrize(
    "make",
    [
        lambda at: at.symlink_to("/etc/passwd"),
        lambda at: at.symlink_to("adapter_config.json"),
        lambda at: at.symlink_to("nowhere"),
        lambda at: at.symlink_to("."),
        os.mkfifo,
    ],
    ids=["outside", "inside", "broken", "loop", "fifo"],
)
def test_what_is_no_plain_file(lora, make):
    make(lora / "README.md")

    assert refusal(lora) == "link"


def test_a_linked_folder_is_not_walked(lora, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (lora / "sub").symlink_to(tmp_path / "elsewhere")

    assert refusal(lora) == "link"


def test_the_weights_may_not_be_a_link(lora):
    (lora / "adapter_model.safetensors").unlink()
    (lora / "adapter_model.safetensors").symlink_to(LORA / "adapter_model.safetensors")

    assert refusal(lora) == "link"
    assert refusal(lora / "adapter_model.safetensors") == "link"


def test_a_base_may_be_made_of_links_as_in_a_hub_cache(tmp_path):
    base = tmp_path / "snapshot"
    base.mkdir()
    for file in (SAMPLES / "bases" / "tinyllama").iterdir():
        (base / file.name).symlink_to(file)
    (base / "pytorch_model.bin").write_bytes(PICKLE)
    (base / "modeling.py").write_text("import os")
    (base / "onnx").mkdir()

    carried, left_out = opened(base, purpose="base")

    assert "model.safetensors" in carried
    assert [line.split()[0] for line in left_out] == ["modeling.py", "onnx", "pytorch_model.bin"]


@pytest.mark.parametrize("name", ["Überblick.md", "a b.md", "con.json", "x..", "a/b/c/d/e.md", "-x.md"])
def test_names_that_do_not_travel(lora, name):
    (lora / name).parent.mkdir(parents=True, exist_ok=True)
    (lora / name).write_text("x")
    if name == "x..":
        assert opened(lora)[1] == ["x.. (not a file that deltas are made of)"]
        return

    with pytest.raises(InvalidInput):
        open_folder(lora)


def test_names_that_differ_in_case_only(lora):
    (lora / "readme.md").write_text("x")
    (lora / "README.md").write_text("y")

    with pytest.raises(InvalidInput, match="case"):
        open_folder(lora)


def test_a_copy_of_a_tensor_in_another_file_is_the_same_tensor(tmp_path):
    for name in ("a.safetensors", "b.safetensors"):
        save_file({"w": np.ones(2, np.float32)}, tmp_path / name)

    with open_folder(tmp_path) as folder:
        assert folder.tensors.keys() == {"w"}


@pytest.mark.parametrize("other", [np.zeros(2, np.float32), np.ones(3, np.float32)])
def test_two_tensors_of_one_name(tmp_path, other):
    save_file({"w": np.ones(2, np.float32)}, tmp_path / "a.safetensors")
    save_file({"w": other}, tmp_path / "b.safetensors")

    with open_folder(tmp_path) as folder, pytest.raises(Refused) as refused:
        _ = folder.tensors

    assert refused.value.problem_code == "ambiguous"


def test_nothing_there(tmp_path):
    with pytest.raises(NotFound):
        open_folder(tmp_path / "absent")
    assert refusal(tmp_path) == "empty"


def test_a_document_that_is_too_large(lora):
    (lora / "adapter_config.json").write_text("{" + " " * (5 << 20) + "}")

    assert refusal(lora) == "limits"


def test_a_single_file(lora):
    carried, _ = opened(lora / "adapter_model.safetensors")

    assert carried == ["adapter_model.safetensors"]


@pytest.mark.parametrize("change", ["write", "replace", "remove", "truncate"])
def test_a_change_while_it_is_open_is_noticed(lora, change):
    file = lora / "adapter_model.safetensors"
    with open_folder(lora) as folder:
        folder.check_unchanged()

        if change == "write":
            with file.open("r+b") as data:
                data.seek(-4, os.SEEK_END)
                data.write(b"abcd")
        elif change == "replace":
            shutil.copyfile(file, lora / "other")
            (lora / "other").replace(file)
        elif change == "remove":
            file.unlink()
        else:
            os.truncate(file, file.stat().st_size - 1)

        with pytest.raises(Conflict, match="changed while"):
            folder.check_unchanged()
