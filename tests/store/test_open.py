"""Opening a store: which URLs are understood, which options are read, and what is loaded."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deltareg.errors import StoreMisconfigured
from deltareg.store import open_store, read_options
from deltareg.store.s3 import S3Options
from deltareg.store.schemes import GROUP, NoOptions, added_schemes
from tests.plug_ins import install


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
        "gs://",
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


PAGE = Path(__file__).parents[2] / "docs" / "howto" / "add-a-store.md"
(PLUG_IN,) = re.findall(r"^```python\n(.*?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def looked_for_anew():
    """Let the process look again for what other distributions add."""
    added_schemes.cache_clear()
    yield
    added_schemes.cache_clear()


@pytest.mark.usefixtures("looked_for_anew")
def test_the_store_of_the_how_to_is_opened_by_its_scheme(tmp_path, monkeypatch) -> None:
    nas = install(tmp_path, monkeypatch, "nas", PLUG_IN, {GROUP: "nas = nas:SCHEME"})
    options = read_options("nas://share", {"DELTAREG_NAS_MOUNT": str(tmp_path / "mnt")})

    open_store("nas://share/a", options=options).check()

    assert (tmp_path / "mnt" / "share" / "a" / "blobs").is_dir()
    assert options == nas.NasOptions(tmp_path / "mnt")
    with pytest.raises(StoreMisconfigured, match="are NasOptions"):
        open_store("nas://share", options=S3Options())
    with pytest.raises(StoreMisconfigured) as refused:
        open_store("box://a")
    assert refused.value.fix.endswith("or nas://…")


@pytest.mark.usefixtures("looked_for_anew")
@pytest.mark.parametrize(
    ("points", "says"),
    [
        ("memory = nas:SCHEME", "two stores open memory://"),
        ("memory = nas:NasOptions", "nas:NasOptions is no StoreScheme"),
    ],
)
def test_a_scheme_is_opened_by_one_store(tmp_path, monkeypatch, points, says) -> None:
    install(tmp_path, monkeypatch, "nas", PLUG_IN, {GROUP: points})

    with pytest.raises(StoreMisconfigured, match=says):
        open_store("memory://")


def test_options_are_read_from_the_variables_of_their_store() -> None:
    variables = {
        "DELTAREG_S3_REGION": "mars-1",
        "deltareg_s3_endpoint_url": "http://s3",
        "S3_REGION": "x",
        "DELTAREG_S3_MAX_ATTEMPTS": "7",
    }

    assert read_options("s3://b", variables) == S3Options(region="mars-1", endpoint_url="http://s3")
    assert read_options("memory://", variables) == NoOptions()
    with pytest.raises(StoreMisconfigured, match="both"):
        read_options("s3://b", {"DELTAREG_S3_ACCESS_KEY_ID": "id"})


def test_a_local_store_needs_no_s3_library(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['boto3'] = None\n"
        "from deltareg.errors import StoreMisconfigured\n"
        "from deltareg.store import open_store\n"
        "open_store(sys.argv[1]).check(); open_store('memory://').check()\n"
        "heavy = ('botocore', 's3transfer', 'google')\n"
        "assert not [name for name in sys.modules if name.startswith(heavy)]\n"
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
