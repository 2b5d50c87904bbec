"""The file system, by fsspec itself: its own suite for reading, and what others do through it."""

import shutil
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest
from safetensors.numpy import load, load_file

from deltareg.errors import InvalidInput
from tests.fixtures.registries import SAMPLES

fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install 'deltareg[fsspec]'")
abstract = pytest.importorskip("fsspec.tests.abstract")

from deltareg.integrations.fsspec import DeltaregFileSystem  # noqa: E402  # it needs fsspec

LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
NAMES = sorted(path.name for path in LORA.iterdir())
REF = "team/lora:v1"
WEIGHTS = f"{REF}/adapter_model.safetensors"


@pytest.fixture
def opened():
    """Give what opens a file system; it is closed in the end."""
    with ExitStack() as stack:

        def opened(server, folder, kind=DeltaregFileSystem):
            token = server.token("read", principal="reader")
            found = kind(server.url, token, cache_dir=str(folder), skip_instance_cache=True)
            stack.callback(found.client.close)
            return found

        yield opened


@pytest.fixture
def fs(shared_registry, tmp_path, opened):
    return opened(shared_registry, tmp_path / "fs-cache")


def test_it_is_found_by_the_scheme(repository):
    import tomllib

    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]

    named = project["entry-points"]["fsspec.specs"]["deltareg"]

    module, _, name = named.partition(":")
    assert (module, name) == (DeltaregFileSystem.__module__, "DeltaregFileSystem")


def test_what_a_registry_has_is_listed_as_folders(fs):
    assert fs.ls("", detail=False) == ["team"]
    assert fs.ls("team", detail=False) == ["team/lora"]
    assert fs.ls("deltareg://team/lora", detail=False) == [REF]
    assert fs.ls(REF, detail=False) == [f"{REF}/{name}" for name in NAMES]
    assert fs.ls(WEIGHTS, detail=False) == [WEIGHTS]
    (version,) = fs.ls("team/lora")
    assert (version["channels"], version["kind"], version["type"]) == (["prod"], "lora", "directory")


def test_files_are_what_was_pushed(fs, tmp_path):
    fs.get(f"{REF}/", str(tmp_path / "got") + "/", recursive=True)

    for name in NAMES:
        wanted = (LORA / name).read_bytes()
        assert fs.cat_file(f"team/lora@prod/{name}") == wanted
        assert (tmp_path / "got" / name).read_bytes() == wanted
        assert fs.info(f"{REF}/{name}")["size"] == len(wanted)


def test_ranges_are_those_of_the_file(fs):
    raw = (LORA / "adapter_model.safetensors").read_bytes()
    size = len(raw)

    for start, end in [
        (0, 8),
        (5, 5),
        (100, 3000),
        (size - 7, None),
        (-16, None),
        (-16, -3),
        (size - 4, size + 50),
        (size + 1, size + 2),
        (None, 40),
    ]:
        assert fs.cat_file(WEIGHTS, start, end) == raw[start:end]
    with fs.open(WEIGHTS, block_size=1000) as file:
        file.seek(20_001)
        assert file.read(10) == raw[20_001:20_011]
        file.seek(-5, 2)
        assert file.read() == raw[-5:]


def test_a_range_brings_what_it_touches_and_much_reading_brings_all(shared_registry, tmp_path, opened):
    fs = opened(shared_registry, tmp_path / "cache")
    snapshots = tmp_path / "cache" / "snapshots"

    length = int.from_bytes(fs.cat_file(WEIGHTS, 0, 8), "little")
    fs.cat_file(WEIGHTS, 8 + length, 8 + length + 64)

    assert list((tmp_path / "cache").rglob("*"))
    assert not snapshots.exists()
    with fs.open(WEIGHTS) as file:
        file.read()
    assert snapshots.exists()


def test_safetensors_are_loaded_from_it(fs):
    with fs.open("team/lora@prod/adapter_model.safetensors") as file:
        found = load(file.read())

    wanted = load_file(LORA / "adapter_model.safetensors")
    assert found.keys() == wanted.keys()
    assert all((found[name] == wanted[name]).all() for name in wanted)


def test_names_are_matched_and_folders_walked(fs):
    assert fs.glob(f"{REF}/*.json") == [f"{REF}/{n}" for n in NAMES if n.endswith(".json")]
    assert fs.glob(f"{REF}/**/adapter_m*") == [WEIGHTS]
    assert [(where, sorted(files)) for where, _, files in fs.walk(REF)] == [(REF, NAMES)]
    assert fs.find("team") == [f"{REF}/{name}" for name in NAMES]
    assert fs.find(f"{REF}/README.mdx") == []
    assert fs.du(REF) == sum((LORA / name).stat().st_size for name in NAMES)


def test_the_digest_tells_whether_a_cached_copy_is_still_it(fs, shared_registry, tmp_path):
    options = {"server": shared_registry.url, "token": shared_registry.token("read")}
    kept = fsspec.filesystem(
        "filecache", fs=DeltaregFileSystem(**options), cache_storage=str(tmp_path / "kept"), check_files=True
    )

    first, again = (kept.cat_file(f"{REF}/adapter_config.json") for _ in range(2))

    assert first == again == (LORA / "adapter_config.json").read_bytes()
    assert fs.ukey(WEIGHTS) == fs.info("team/lora@prod/adapter_model.safetensors")["sha256"]


def test_what_is_not_there_is_the_error_that_file_systems_have(fs):
    for missing in ["team/lora:v9/README.md", f"{REF}/nothing.json", "team/other", "nobody"]:
        assert not fs.exists(missing)
        with pytest.raises(FileNotFoundError):
            fs.info(missing)
    with pytest.raises(FileNotFoundError, match=r"adapter_config\.json"):
        fs.open(f"{REF}/nothing.json")
    with pytest.raises(IsADirectoryError):
        fs.cat_file(REF)
    with pytest.raises(InvalidInput, match="no version is named"):
        fs.open("team/lora/adapter_config.json")


def test_who_may_not_read_is_told_so(shared_registry, tmp_path):
    fs = DeltaregFileSystem(shared_registry.url, "drg_pat_none", cache_dir=str(tmp_path / "none"))

    with pytest.raises(PermissionError), closing(fs.client):
        fs.ls("")


@pytest.mark.parametrize(
    "write",
    [
        lambda fs: fs.mkdir(f"{REF}/x"),
        lambda fs: fs.rm(WEIGHTS),
        lambda fs: fs.rm(REF, recursive=True),
        lambda fs: fs.pipe(WEIGHTS, b"x"),
        lambda fs: fs.open(WEIGHTS, "wb"),
        lambda fs: fs.open(WEIGHTS, "ab"),
        lambda fs: fs.put(str(LORA / "adapter_config.json"), f"{REF}/adapter_config.json"),
        lambda fs: fs.mv(WEIGHTS, f"{REF}/y"),
        lambda fs: fs.copy(WEIGHTS, f"{REF}/y"),
        lambda fs: fs.touch(f"{REF}/y"),
    ],
)
def test_nothing_is_written_and_the_error_says_what_is(fs, write):
    with pytest.raises(OSError, match="deltareg push"):
        write(fs)

    assert fs.cat_file(WEIGHTS) == (LORA / "adapter_model.safetensors").read_bytes()


def test_an_open_file_stays_that_of_the_version_it_was_opened_in(local_registry, tmp_path, opened):
    client = local_registry.line("lora", "lora_v2")
    fs = opened(local_registry, tmp_path / "cache")

    with fs.open("team/lora@prod/adapter_model.safetensors", block_size=512) as file:
        head = file.read(512)
        client.rollback("team/lora", "prod", reason="a test")
        rest = file.read()

    newer = (SAMPLES / "deltas" / "tinyllama" / "lora_v2" / "adapter_model.safetensors").read_bytes()
    assert head + rest == newer
    assert fs.cat_file("team/lora@prod/adapter_model.safetensors") != newer


def test_what_is_stored_against_its_base_is_read_in_parts(local_registry, tmp_path, opened):
    local_registry.line("lora")
    full = SAMPLES / "deltas" / "tinyllama" / "full"
    local_registry.client().push(full, "team/full", base="tinyllama")
    fs = opened(local_registry, tmp_path / "cache")
    name = "model-00002-of-00004.safetensors"
    raw, places = (full / name).read_bytes(), (0, 9_000, 40_000)

    found = [fs.cat_file(f"team/full:v1/{name}", at, at + 99) for at in places]

    assert found == [raw[at : at + 99] for at in places]


class Trees:
    """Folders as fsspec's suite makes them, pushed as files of a version.

    A version takes no file without an ending, which most of the suite's are: they are pushed as
    `file1.txt`, and this file system leaves the ending out.
    """

    def __init__(self, server, folder):
        self.server, self.folder, self.names = server, folder, []

    def touch(self, path):
        self.pipe(path, b"x")

    def pipe(self, path, value):
        self.names.append((path, value))

    def makedirs(self, path):
        pass

    def push(self, line):
        shutil.copytree(LORA, self.folder)
        for path, value in self.names:
            inside = path.partition(":v1/")[2]
            target = self.folder / (inside if inside.endswith(".txt") else f"{inside}.txt")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(value)
        self.server.client().push(self.folder, line, base="tinyllama")


class Ending(DeltaregFileSystem):
    """Shows `file1.txt` as `file1`; what the suite calls `.txt` itself stays."""

    def _files(self, address):
        return Renamed(super()._files(address))


class Renamed:
    def __init__(self, files):
        self._own = files
        self.version = files.version
        bare = ("file1", "file2", "subfile1", "subfile2", "nestedfile")
        self._names = {self._shown(file.path, bare): file.path for file in files.files}

    @staticmethod
    def _shown(path, bare):
        cut = path.removesuffix(".txt")
        return cut if cut.rpartition("/")[2] in bare else path

    @property
    def files(self):
        return [replace(self._own.file(own), path=name) for name, own in self._names.items()]

    def file(self, path):
        return self._own.file(self._names.get(path, path))

    def read(self, path, begin=0, end=None):
        return self._own.read(self._names[path], begin, end)

    def copy(self, path, target):
        self._own.copy(self._names[path], target)


@pytest.mark.soak
class TestFsspecsOwnSuite(abstract.AbstractGetTests, abstract.AbstractFixtures):  # type: ignore[name-defined]  # looked for first
    test_get_directory_recursive = None  # it writes what it gets

    @pytest.fixture
    def fs(self, shared_registry, tmp_path, opened):
        return opened(shared_registry, tmp_path / "trees-cache", Ending)

    @pytest.fixture
    def fs_path(self):
        return "team"

    @pytest.fixture
    def pushed(self, shared_registry, fs, tmp_path, fs_join):
        """Give what pushes a tree of the suite, once for all tests."""

        def push(scenario):
            line = "team/" + scenario.__name__.strip("_").replace("_", "-")
            trees = Trees(shared_registry, tmp_path / "trees")
            source = scenario(trees, fs_join, f"{line}:v1")
            if not fs.exists(line):
                trees.push(line)
            return source

        return push

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, pushed):
        return pushed(self._bulk_operations_scenario_0)

    @pytest.fixture
    def fs_glob_edge_cases_files(self, pushed):
        return pushed(self._glob_edge_cases_files)

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self, pushed):
        return pushed(self._dir_and_file_with_same_name_prefix)

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, pushed):
        return pushed(self._10_files_with_hashed_names)
