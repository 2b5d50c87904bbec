"""Bases that have the same tensors on the command line: what is said of them, and exit statuses."""

import json
import shutil

import pytest

from tests import tiny


@pytest.fixture
def folders(tmp_path):
    base = tiny.base(tmp_path / "first")
    twin = tmp_path / "second"
    shutil.copytree(base.path, twin)
    (twin / "config.json").write_text(json.dumps(base.config | {"rms_norm_eps": 0.5}))
    neither = tmp_path / "neither"
    shutil.copytree(base.path, neither)
    (neither / "config.json").write_text(json.dumps(base.config | {"rms_norm_eps": 0.25}))
    lora = tiny.lora(tmp_path / "lora", base, base_model_name_or_path=None).path
    return {"first": base.path, "second": twin, "neither": neither, "lora": lora}


def test_two_bases_are_told_apart_renamed_and_deleted(user, folders):
    assert user("base", "push", folders["first"], "tiny").status == 0
    assert user("base", "push", folders["second"], "other").status == 0

    shown = user("base", "show", "tiny").out
    differ = user("base", "diff", "tiny", "other")
    refused = user("push", folders["lora"], "me/chat", "--base", folders["neither"])
    document = json.loads(user("base", "diff", "tiny", "other", "--json").out)
    pushed = user("push", folders["lora"], "me/chat", "--base", folders["first"])
    renamed = user("base", "rename", "tiny", "tiny-llama")
    needed = user("base", "rm", "tiny", "--yes")
    tried = user("base", "rm", "other", "--dry-run")
    gone = user("base", "rm", "other", "--yes")

    assert "identity" in shown
    assert "the same tensors" in differ.out
    assert "rms_norm_eps left out → 0.5" in differ.out
    assert document["differences"] == [{"part": "config", "details": ["rms_norm_eps left out → 0.5"]}]
    assert refused.status == 7
    assert "tiny: the same tensors; config differs: rms_norm_eps left out → 0.25" in refused.err
    assert "other: the same tensors; config differs: rms_norm_eps 0.5 → 0.25" in refused.err
    assert pushed.status == 0
    assert "tiny-llama is what tiny leads to" in renamed.out
    assert needed.status != 0
    assert "tiny-llama is needed by 1 version (me/chat:v1)" in needed.err
    assert "other would be deleted" in tried.out
    assert "other is deleted" in gone.out
    assert user("base", "show", "other").status == 3
