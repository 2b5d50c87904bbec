"""Some ninety calls of `HfApi`, by three releases: each works, or says why in our words.

All of it is in the soak: the release that is installed by itself, the others each in an environment of
its own; that one prints the table, which `docs/howto/hugging-face.md` shows in short.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections import Counter
from pathlib import Path

import huggingface_hub
import pytest

from tests.hub.conftest import HUB_ID, LORA, member

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
INSTALLED = huggingface_hub.__version__
RELEASES = ("0.36.2", "1.33.0", "2.4.0")
OTHERS = [pytest.param(release, marks=pytest.mark.soak) for release in RELEASES if release != INSTALLED]
PROGRAM = Path(__file__).parent / "unchanged" / "calls.py"
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "hugging-face.md"
FILES = ["adapter_config.json", "adapter_model.safetensors"]
RESULTS = {  # of calls that work; `OWN` is the repository that the program makes
    "whoami": "owner",
    "list_models": ["den/secret", "team/full", "team/lora"],
    "list_models(search)": ["team/lora"],
    "list_models(author)": ["team/full"],
    "list_models(filter)": ["team/full"],
    "list_models(sort, limit)": 1,
    "list_models(sort=downloads)": ["team/lora"],
    "list_models(full)": FILES,
    "list_models(pipeline_tag)": [],
    "list_models(gated)": [],
    "model_info": "team/lora",
    "model_info(files_metadata)": 2,
    "model_info of none": True,
    "repo_exists": [True, False, False],
    "revision_exists": [True, True, False],
    "file_exists": [True, False],
    "list_repo_files": FILES,
    "list_repo_tree": 2,
    "get_paths_info": FILES[:1],
    "list_repo_refs": ["v2", "v1"],
    "list_repo_commits": 2,
    "get_hf_file_metadata": (LORA.with_name("lora_v2") / FILES[0]).stat().st_size,
    "hf_hub_download": FILES[0],
    "snapshot_download": 2,
    "get_safetensors_metadata": True,
    "verify_repo_checksums": [],
    "get_full_repo_name": "owner/lora",
    "HfFileSystem": [[f"team/lora@v1/{name}" for name in FILES], (LORA / FILES[0]).stat().st_size],
    "hf models ls": True,
    "hf models ls ID": True,
    "create_repo": "OWN",
    "create_repo(exist_ok)": "OWN",
    "ModelCard.load": "peft",
    "model_info(card_data)": ["support"],
    "list_models(filter=tag of a card)": True,
    "create_commit(copy)": True,
    "create_commit(copy, delete)": ["MOVED.md"],
    "create_commit(copy of an older version)": True,
    "create_tag": [None, True],
    "delete_tag": [None, False],
    "model_info(revision=tag)": True,
    "get_repo_discussions": [],
    "list_repo_likers": [],
}
# What a release refuses by itself, or asks of huggingface.co whatever it is told.
BY_ITSELF = {
    ("0.36.2", "ModelCard.validate"),
    ("1.33.0", "ModelCard.validate"),
    ("0.36.2", "hf models ls"),
    ("0.36.2", "hf models ls ID"),
    ("0.36.2", "run_job"),
    ("1.33.0", "create_commit(copy from another)"),
    ("2.4.0", "create_commit(copy from another)"),
}


@pytest.fixture(scope="module", params=[pytest.param(INSTALLED, marks=pytest.mark.soak), *OTHERS])
def asked(request, shelf, tmp_path_factory):
    """Ask all by a release; give it, its repository, and what came of each call."""
    release, folder = request.param, tmp_path_factory.mktemp("calls")
    program = Path(sys.executable) if release == INSTALLED else install(release, folder / "venv")
    shutil.copytree(LORA, folder / "lora")
    config = folder / "lora" / FILES[0]
    config.write_text(config.read_text().replace("bases/tinyllama", HUB_ID))
    own = f"by-{release.replace('.', '-')}/own"
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_ENDPOINT": shelf.url,
        "HF_TOKEN": shelf.token("read", "push", principal="owner"),
    }
    command = [program, PROGRAM, folder / "lora", own, member(shelf, "reader")]
    ended = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3_000:]
    return release, own, json.loads(ended.stdout.splitlines()[-1])


def install(release, folder):
    venv.create(folder, with_pip=True)
    found = folder / "bin" / "python"
    command = [found, "-m", "pip", "install", "-q", f"huggingface_hub=={release}"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return found


def test_each_call_works_or_says_why_in_our_words(asked):
    release, _, outcomes = asked

    others = {call: told for call, told in outcomes.items() if told[0] not in {"works", "words", "absent"}}

    print(f"\n{release}: {dict(Counter(told[0] for told in outcomes.values()))}")
    for call, told in outcomes.items():
        print(f"  {call:42} {told[0]:8} {told[2].splitlines()[0] if told[0] == 'words' else ''}")
    assert len(outcomes) > 80
    assert {(release, call) for call in others} <= BY_ITSELF, others
    assert {told[0] for told in others.values()} <= {"client"}


def test_what_works_gives_what_is_there(asked):
    _, own, outcomes = asked

    wanted = {call: own if result == "OWN" else result for call, result in RESULTS.items()}
    given = {call: told[1] for call, told in outcomes.items() if told[0] == "works" and call in wanted}

    assert given == {call: wanted[call] for call in given}
    assert len(given) > 35


def test_what_is_refused_is_refused_with_the_way(asked):
    _, _, outcomes = asked

    refused = {call: told[1:] for call, told in outcomes.items() if told[0] == "words"}

    for call, (status, words, _) in refused.items():
        message, _, fix = words.partition("\nfix: ")
        assert 400 <= status < 500, call
        assert message, call
        assert "<html" not in words.lower(), call
        assert fix, call
    assert len(refused) > 35


def test_the_page_tells_of_each_call_what_comes_of_it(asked):
    _, _, outcomes = asked
    rows = dict(re.findall(r"^\| (works|says why) \| (.+) \|$", PAGE.read_text(), re.MULTILINE))
    row_of = {"works": "works", "words": "says why"}

    untold = [
        (told[0], call)
        for call, told in outcomes.items()
        if told[0] in row_of and f"`{method_of(call)}`" not in rows[row_of[told[0]]]
    ]

    assert untold == []


def method_of(call):
    """Give what is called, without how."""
    return call.removesuffix(" ID") if call.startswith("hf ") else re.split(r"[ (=]", call)[0]
