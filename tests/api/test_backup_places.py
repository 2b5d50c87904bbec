"""What reads backups makes no place of them."""

import pytest
from click.testing import CliRunner

from deltareg.api.serve import server

NOT_FOUND = 3


@pytest.mark.parametrize("words", [("verify-backup",), ("prune-backups", "--keep-days", "7"), ("restore",)])
def test_a_missing_folder_stays_missing(words, tmp_path, monkeypatch):
    monkeypatch.setenv("DELTAREG_DATA_DIR", str(tmp_path / "data"))
    place = tmp_path / "nowhere"

    done = CliRunner().invoke(server, [*words, "--from", str(place)])

    assert done.exit_code == NOT_FOUND
    assert f"there is no folder {place}" in done.output
    assert not place.exists()
