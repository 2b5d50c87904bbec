"""Opening a store: which URLs are understood, and what a local store loads."""

import subprocess
import sys
from pathlib import Path

import pytest

from deltareg.errors import StoreMisconfigured
from deltareg.store import S3Options, open_store


def test_a_file_url_opens_that_folder(tmp_path: Path) -> None:
    root = tmp_path / "a folder" / "with ü"

    open_store(root.as_uri()).check()

    assert sorted(path.name for path in root.iterdir()) == ["blobs", "tmp"]


def test_each_memory_store_is_a_new_one() -> None:
    first, second = open_store("memory://"), open_store("memory://")

    first.check()

    assert first is not second


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/var/lib/deltareg",
        "blobs",
        "file:",
        "file://",
        "file:relative",
        "file:///a%00b",
        "file://otherhost/blobs",
        "http://host/bucket",
        "gs://bucket",
        "s3:",
        "s3://",
        "s3:///prefix",
        "s3://bucket/../other",
        "s3://bucket/a//b",
        "s3://bucket/a b",
        "s3://bucket/?x=1",
        "s3://bucket/a#b",
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(StoreMisconfigured, match="not the URL") as caught:
        open_store(url)

    assert "s3://bucket/prefix" in caught.value.fix


def test_a_local_store_needs_no_s3_library(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['boto3'] = None\n"
        "from deltareg.errors import StoreMisconfigured\n"
        "from deltareg.store import open_store\n"
        "open_store(sys.argv[1]).check(); open_store('memory://').check()\n"
        "assert not [name for name in sys.modules if name.startswith(('botocore', 's3transfer'))]\n"
        "try: open_store('s3://bucket')\n"
        "except StoreMisconfigured as error: print(error.fix)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path.as_uri()],
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
    )

    assert done.stdout.strip() == "pip install 'deltareg[server]'"


@pytest.mark.parametrize(
    ("endpoint", "addressing", "checksums"),
    [
        (None, "auto", "when_supported"),
        ("https://s3.eu-west-1.amazonaws.com", "auto", "when_supported"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "auto", "when_supported"),
        ("https://amazonaws.com.example.org", "path", "when_required"),
        ("http://127.0.0.1:9000", "path", "when_required"),
    ],
)
def test_addressing_and_checksums_follow_the_endpoint(endpoint: str | None, addressing: str, checksums: str) -> None:
    options = S3Options(endpoint_url=endpoint)

    assert (options.addressing_style, options.checksum_mode) == (addressing, checksums)


def test_addressing_and_checksums_can_be_set() -> None:
    options = S3Options(addressing="path", checksums="when_required")

    assert (options.addressing_style, options.checksum_mode) == ("path", "when_required")


@pytest.mark.parametrize("half", [{"access_key_id": "id"}, {"secret_access_key": "secret"}])
def test_half_a_credential_is_refused(half: dict[str, str]) -> None:
    with pytest.raises(StoreMisconfigured, match="both"):
        S3Options(**half)  # type: ignore[arg-type]  # one of two string fields


def test_the_secret_is_not_shown() -> None:
    options = S3Options(access_key_id="id", secret_access_key="very-secret")

    assert "very-secret" not in repr(options)


@pytest.mark.parametrize("endpoint", ["", "not a url", "127.0.0.1:9000", "ftp:/x"])
def test_a_malformed_endpoint_is_refused_at_once(endpoint: str) -> None:
    with pytest.raises(StoreMisconfigured, match="cannot be used"):
        open_store("s3://bucket", options=S3Options(endpoint_url=endpoint))
