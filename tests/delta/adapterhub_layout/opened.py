"""The samples that the adapters library wrote, opened, and broken in memory."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

from deltareg.delta.accounting import account, recognise
from deltareg.errors import Refused
from tests.folders import SampleFolder, open_base, open_folder

SAMPLES = Path(__file__).parent / "samples"
HUB_FILE = "adapter.safetensors"


@cache
def base(name):
    """Open a sample's base: what a kind sees of it, and its tensors."""
    return open_base(SAMPLES / name / "base")


def sample(name, variant):
    return open_folder(SAMPLES / name / variant)


def samples():
    """Name every sample, `bert/loreft`."""
    found = sorted(SAMPLES.glob("*/*/adapter_config.json"))
    return [f"{path.parts[-3]}/{path.parts[-2]}" for path in found]


def with_tensors(folder, change):
    """Change tensor names: `change` gives the new name, or None to take the tensor out."""
    headers, tensors = {}, {}
    for path, header in folder.files.headers.items():
        kept = {}
        for name, info in header.tensors.items():
            new = change(name)
            if new is not None:
                kept[new] = replace(info, name=new)
                tensors[new] = replace(folder.tensors[name], origin=kept[new])
        headers[path] = replace(header, tensors=kept)
    return SampleFolder(replace(folder.files, headers=headers), tensors)


def with_shape(folder, name, shape):
    """Give one tensor another shape."""
    headers = {}
    for path, header in folder.files.headers.items():
        tensors = {n: replace(info, shape=shape) if n == name else info for n, info in header.tensors.items()}
        headers[path] = replace(header, tensors=tensors)
    return SampleFolder(replace(folder.files, headers=headers), folder.tensors)


def with_document(folder, path, change):
    """Change a JSON document; `change` works on a copy, or is None to take the document out."""
    documents = json.loads(json.dumps(folder.files.documents))
    if change is None:
        del documents[path]
    else:
        change(documents[path])
    return SampleFolder(replace(folder.files, documents=documents), folder.tensors)


def with_method(folder, **fields):
    """Change fields of the method's config."""
    return with_document(folder, "adapter_config.json", lambda d: d["config"].update(fields))


def accounted(folder, view):
    """Account for a folder that is not refused before."""
    kind, _ = recognise(folder.files, view)
    return account(kind.parse(folder.files, view), folder.files, folder.tensors, view)


def codes(folder, view):
    """Give the distinct codes of the errors that a folder gets."""
    try:
        problems = accounted(folder, view).problems
    except Refused as refused:
        problems = refused.problems
    return list(dict.fromkeys(p.code for p in problems if p.severity == "error"))
