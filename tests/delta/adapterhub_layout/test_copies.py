"""A head that lies in two files: one tensor when both hold the same bytes, else refused."""

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from deltareg.client.folders.folder import open_folder
from deltareg.client.folders.hashing import hash_folder
from deltareg.delta.delta_manifest import assess, build_delta_manifest
from deltareg.delta.shapes import header_tensors
from deltareg.errors import Refused
from tests.delta.adapterhub_layout.opened import SAMPLES, base

HEAD, COPY = "model_head.safetensors", "classifier_head.safetensors"


@pytest.fixture
def adapter(tmp_path):
    """Copy a sample whose head is to be there twice."""
    return shutil.copytree(SAMPLES / "bert" / "gated", tmp_path / "adapter")


def manifest_of(path):
    """Build the manifest as a server does, from headers and claimed digests."""
    view, _ = base("bert")
    with open_folder(path) as folder:
        hashed = hash_folder(folder)
        assessment = assess(folder.files, header_tensors(folder.files), view)
        return build_delta_manifest(
            assessment, delta=folder.files, files=hashed.files, digests=hashed.digests, base=view
        )


def test_a_copy_of_the_head_is_carried_and_has_its_role(adapter):
    shutil.copy(adapter / HEAD, adapter / COPY)

    found = {(t.file, t.name): t.role for t in manifest_of(adapter).tensors}

    assert found[HEAD, "classifier.weight"] == found[COPY, "classifier.weight"] == "head"


def test_another_head_of_the_same_name_is_refused(adapter):
    values = load_file(adapter / HEAD)
    save_file({name: np.flip(v).copy() for name, v in values.items()}, adapter / COPY)

    with pytest.raises(Refused) as refused:
        manifest_of(adapter)

    assert refused.value.problem_code == "ambiguous"
