"""The hub's own client, as it is installed, reads what was pushed."""

from pathlib import Path

from huggingface_hub import snapshot_download

from tests.fixtures.registries import files_below
from tests.hub.conftest import LORA


def test_a_snapshot_is_what_was_pushed(hub, tmp_path):
    hub.line("lora", "lora_v2")
    token = hub.token("read", principal="reader")

    path = Path(
        snapshot_download(
            "team/lora", endpoint=hub.url, token=token, cache_dir=tmp_path / "hf", revision="v1"
        )
    )

    found = {file.name: file.read_bytes() for file in path.iterdir()}
    assert found == {file.name: file.read_bytes() for file in files_below(LORA)}
