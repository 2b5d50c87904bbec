"""Which base? Each spelling of a base, by each way in: what names another base is never pushed unnoticed.

`llama` and `other` have one shape; the delta's config names `llama` in one of the ways below.
"""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from deltareg.errors import DeltaregError, InvalidInput, NotFound, Refused
from deltareg.host.token_files import write_token
from deltareg.integrations.checkpoint_pushes import CheckpointPushes, PushTerms, TrainingState
from deltareg_cli.exits import ExitStatus
from tests import tiny
from tests.hub.conftest import open_hub

huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs huggingface-hub")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

REVISION = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334"
SNAPSHOT = f"/data/hub/models--Org--Llama/snapshots/{REVISION}"
SLOW_WAYS = ("callback", "commit")  # a fifth of a minute each
SPELLINGS = {
    "its name": ("llama", None),
    "a former name": ("llama-before", None),
    "its id on the hub": ("Org/Llama", None),
    "that id in other letters": ("ORG/llama", None),
    "id and revision": ("Org/Llama", REVISION),
    "id@revision, cut": (f"Org/Llama@{REVISION[:8]}", None),
    "id at another revision": ("Org/Llama", "v9"),
    "the path": ("{home}/models/llama", None),
    "the path with a slash": ("{home}/models/llama/", None),
    "a relative path": ("models/llama", None),
    "a path from ~": ("~/models/llama", None),
    "a snapshot of the hub's cache": (SNAPSHOT, None),
    "a name that nobody knows": ("org/nobody", None),
    "nothing": (None, None),
}
PUSHED, REFUSED, UNKNOWN = "pushed", "base_mismatch", "no such base"
LIKE_THE_RIGHT_ONE = (PUSHED, REFUSED, UNKNOWN)
"""What is said: the right base, the other one, one that does not exist."""
AS_SAID = (PUSHED, PUSHED, UNKNOWN)
"""Nobody knows what the config names: the base is taken as it is said, with a note."""
HERE = dict.fromkeys(SPELLINGS, LIKE_THE_RIGHT_ONE) | {
    "id at another revision": (REFUSED, REFUSED, UNKNOWN),
    "a name that nobody knows": AS_SAID,
    "nothing": AS_SAID,
}
ELSEWHERE = HERE | {"a relative path": AS_SAID, "a path from ~": AS_SAID}
"""A server has only the files: what a path leads to on the machine of who sent them it cannot see."""


@pytest.fixture(scope="module")
def site(sqlite_template, tmp_path_factory, local_stock):
    folder = tmp_path_factory.mktemp("promise")
    shutil.copyfile(sqlite_template, folder / "registry.db")
    tiny.base(folder / "user" / "models" / "llama")
    tiny.base(folder / "user" / "models" / "other", seed=9)
    with open_hub(f"sqlite:///{folder / 'registry.db'}", folder, local_stock) as server:
        with server.client() as client:
            models = folder / "user" / "models"
            client.bases.push(models / "llama", "llama-before", hub_ids=[f"Org/Llama@{REVISION}"])
            client.bases.rename("llama-before", "llama")
            client.bases.push(models / "other", "other", hub_ids=["Org/Other"])
        yield server


@pytest.fixture
def home(site, monkeypatch, forked):
    """Work in the home folder that the bases lie in."""
    home = site.folder / "user"
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DELTAREG_SERVER", site.url)
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return home


class Ways:
    """The ways in, each of which pushes a folder and gives the version, or raises."""

    def __init__(self, site, home, shell):
        self.site, self.home, self.shell = site, home, shell

    def python(self, folder, line, base, **insisted):
        with self.site.client() as client:
            return client.push(folder, line, base=base, **insisted).version

    def command(self, folder, line, base, trained_on=None):
        also = [] if trained_on is None else ["--trained-on", trained_on]
        ended = self.shell("push", folder, line, "--base", base, *also, "--json")
        if ended.status:
            code = ended.problem["errors"][0]["code"] if ended.problem.get("errors") else ended.problem["code"]
            raise NotFound(code) if ended.status == ExitStatus.NOT_FOUND else _refusal(code, ended.problem)
        with self.site.client() as client:
            return client.show(ended.json["ref"])

    def callback(self, folder, line, base, **insisted):
        with self.site.client() as client:
            pushes = CheckpointPushes(PushTerms(line, base=base, strict=True, parent=None, **insisted), client)
            run = folder.parent / f"run-{folder.name}"
            pushes.begin(run, goes_on=False)
            shutil.copytree(folder, pushes.folder_of(1))
            pushes.offer(TrainingState(pushes.folder_of(1), 1, {}))
            pushes.finish()
            return pushes.reports[0].version

    def commit(self, folder, line, base, trained_on=None):
        own = {"base": base} | ({} if trained_on is None else {"trained_on": trained_on})
        (folder / "README.md").write_text(f"---\ndeltareg: {json.dumps(own)}\n---\n# A commit\n")
        api = huggingface_hub.HfApi(endpoint=self.site.url, token=self.site.token("read", "push", principal="trainer"))
        api.create_repo(line)
        try:
            api.upload_folder(folder_path=folder, repo_id=line)
        except huggingface_hub.errors.HfHubHTTPError as error:
            text = str(error)
            raise NotFound(text) if "no base here has that name" in text else InvalidInput(text) from error
        with self.site.client() as client:
            return client.show(line)


def _refusal(code, problem):
    return InvalidInput(f"{code}: {problem['detail']}", fix=problem.get("fix", ""))


@pytest.fixture
def ways(site, home, shell, monkeypatch):
    monkeypatch.setenv("DELTAREG_SERVER", site.url)
    monkeypatch.chdir(home)
    write_token(site.url, site.token("read", "push", "admin", principal="ana"))
    return Ways(site, home, shell)


def delta_naming(folder, home, spelling):
    name, revision = SPELLINGS[spelling]
    named = None if name is None else name.format(home=home)
    base = tiny.base(folder.parent / "shape")
    return tiny.lora(folder, base, base_model_name_or_path=named, revision=revision, targets=("q_proj",)).path


def outcome(push):
    """Tell how a push ended, and on which base."""
    try:
        return push().base.name
    except NotFound:
        return UNKNOWN
    except (InvalidInput, Refused) as error:
        return REFUSED if REFUSED in str(error) else f"{type(error).__name__}: {error}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "way", ["command", *(pytest.param(way, marks=pytest.mark.soak) for way in ("python", *SLOW_WAYS))]
)
def test_no_spelling_of_a_base_is_pushed_onto_another_one(ways, home, tmp_path, way):
    wanted = ELSEWHERE if way == "commit" else HERE
    push, found = getattr(ways, way), {}
    for number, spelling in enumerate(SPELLINGS):
        row = []
        for said in ("llama", "other", "nosuch"):
            folder = delta_naming(tmp_path / f"{number}-{said}" / "delta", home, spelling)
            ended = outcome(lambda: push(folder, f"team/{way}-{number}-{said}", said))  # noqa: B023
            row.append(PUSHED if ended == said else ended)
        found[spelling] = tuple(row)

    assert found == wanted


@pytest.mark.parametrize(
    "way", ["command", "python", *(pytest.param(way, marks=pytest.mark.soak) for way in SLOW_WAYS)]
)
def test_who_insists_is_believed_and_the_version_keeps_what_its_files_say(ways, home, tmp_path, way):
    folder = delta_naming(tmp_path / "delta", home, "its id on the hub")

    version = getattr(ways, way)(folder, f"team/insist-{way}", "other", trained_on="other")

    assert version.base.name == "other"
    assert version.base_claim == "llama (adapter_config.json: Org/Llama)"
    with ways.site.client() as client:
        assert client.show(version.ref).base_claim == version.base_claim
        assert [e.after.get("base_claim") for e in client.audit.list(subject=version.ref)] == [version.base_claim]
    shown = ways.shell("show", version.ref)
    ways.shell("card", "write", version.ref, tmp_path / "card.md")
    assert version.base_claim in shown.out
    assert f"| its files say | {version.base_claim} |" in (tmp_path / "card.md").read_text()


def test_both_are_named_with_the_command_that_is_right(ways, home, tmp_path):
    folder = delta_naming(tmp_path / "delta", home, "its id on the hub")

    refused = ways.shell("push", folder, "team/told", "--base", "other")
    two = ways.shell("push", folder, "team/told", "--base", "other", "--trained-on", "llama")

    assert refused.status == ExitStatus.BASE_MISMATCH
    assert "adapter_config.json says it was trained on llama (Org/Llama), and you said other" in refused.err
    assert f"deltareg push {folder} team/told --base llama" in refused.err.replace("\n       ", " ")
    assert "--trained-on other" in refused.err
    assert "--base other and --trained-on llama are two bases" in two.err


def test_a_push_that_only_looks_asks_the_same(ways, home, tmp_path):
    folder = delta_naming(tmp_path / "delta", home, "its id on the hub")
    words = ("push", folder, "team/dry", "--dry-run", "--json", "--base", "other")

    looked, insisted = ways.shell(*words), ways.shell(*words, "--trained-on", "other")

    assert (looked.status, [one["code"] for one in looked.json["problems"]]) == (ExitStatus.INVALID, ["base_mismatch"])
    assert (insisted.status, insisted.json["problems"]) == (0, [])


@pytest.mark.parametrize("spelling", ["its id on the hub", "the path", "a relative path", "id and revision"])
def test_without_a_word_it_is_the_base_that_the_files_name(ways, home, tmp_path, spelling):
    folder = delta_naming(tmp_path / "delta", home, spelling)

    version = ways.python(folder, f"team/silent-{str(SPELLINGS[spelling][0]).count('/')}-{len(spelling)}", None)

    assert version.base.name == "llama"


def test_without_a_word_and_a_known_name_the_bases_that_fit_are_proposed(ways, home, tmp_path):
    folder = delta_naming(tmp_path / "delta", home, "a name that nobody knows")

    with pytest.raises(InvalidInput, match="is no registered base, and not on this machine") as refused:
        ways.python(folder, "team/proposed", None)

    assert refused.value.fix.startswith("its shapes fit: llama, other; choose: --base llama")


def test_a_folder_on_this_machine_that_holds_another_model_denies_a_base(ways, home, tmp_path):
    """Nobody registered it: its fingerprint alone says that it is not the base that was said."""
    third = tiny.base(tmp_path / "third", seed=5)
    delta = tiny.lora(tmp_path / "delta", third, base_model_name_or_path=str(third.path), targets=("q_proj",)).path

    with pytest.raises(Refused, match="holds another model than llama") as refused:
        ways.python(delta, "team/third", "llama")
    insisted = ways.python(delta, "team/third", "llama", trained_on="llama")

    assert f"deltareg base push {third.path} NAME" in refused.value.fix
    assert insisted.base_claim == f"{third.path} (adapter_config.json)"


@pytest.mark.parametrize("where", ["card", "fine-tune", "header"])
def test_the_card_and_what_trainers_note_count_where_the_config_is_silent(ways, home, tmp_path, where):
    base = tiny.base(tmp_path / "shape")
    if where == "fine-tune":
        delta = tiny.full(tmp_path / "delta", base).path
        config = json.loads((delta / "config.json").read_text())
        (delta / "config.json").write_text(json.dumps(config | {"_name_or_path": "Org/Llama"}))
    else:
        delta = tiny.lora(tmp_path / "delta", base, base_model_name_or_path=None, targets=("q_proj",)).path
        if where == "card":
            (delta / "README.md").write_text("---\nbase_model: Org/Llama\n---\n# A card\n")
        else:
            weights = load_file(delta / "adapter_model.safetensors")
            save_file(weights, delta / "adapter_model.safetensors", {"base_model": "Org/Llama"})

    with pytest.raises(Refused, match="says it was trained on llama"):
        ways.python(delta, f"team/{where}", "other")

    assert ways.python(delta, f"team/{where}", "llama").base.name == "llama"


def test_the_config_wins_over_a_card_that_names_a_place(ways, home, tmp_path):
    folder = delta_naming(tmp_path / "delta", home, "its id on the hub")
    (folder / "README.md").write_text("---\nbase_model: bases/tinyllama\nlibrary_name: peft\n---\n# A card\n")
    api = huggingface_hub.HfApi(endpoint=ways.site.url, token=ways.site.token("read", "push", principal="trainer"))

    pushed = ways.python(folder, "team/card-place", None)
    api.create_repo("team/card-place-hub")
    api.upload_folder(folder_path=folder, repo_id="team/card-place-hub")

    with ways.site.client() as client:
        committed = client.show("team/card-place-hub")
    assert (pushed.base.name, committed.base.name) == ("llama", "llama")
    assert committed.digest == pushed.digest


def test_a_commit_of_a_folder_is_the_version_that_a_push_made_of_it(ways, home, tmp_path):
    """Outputs that the push took along are the version's, and a commit records none of its own."""
    folder = delta_naming(tmp_path / "delta", home, "its name")
    arrays = {"inputs.input_ids": np.array([[1, 2]]), "outputs.logits": np.ones((1, 2, 4), np.float32)}
    save_file(arrays, tmp_path / "golden.safetensors")
    first = ways.python(folder, "team/doors", "llama", golden=tmp_path / "golden.safetensors")
    other = tiny.lora(tmp_path / "other", tiny.base(tmp_path / "shape"), seed=8, base_model_name_or_path="llama").path
    second = ways.python(other, "team/doors", "llama")
    api = huggingface_hub.HfApi(endpoint=ways.site.url, token=ways.site.token("read", "push", principal="trainer"))

    api.upload_folder(folder_path=folder, repo_id="team/doors")
    by_command = ways.command(folder, "team/doors", "llama")

    assert (first.version, second.version, by_command.version) == (1, 2, 1)
    with ways.site.client() as client:
        assert client.show("team/doors").version == 2


def test_a_path_where_an_adapter_lies_by_now_says_nothing(ways, home, tmp_path):
    base = tiny.base(tmp_path / "shape")
    delta = tiny.lora(tmp_path / "out", base, base_model_name_or_path=str(tmp_path / "out"), targets=("q_proj",)).path

    version = ways.python(delta, "team/overwritten", "llama")

    assert (version.base.name, version.base_claim) == ("llama", "")


def test_a_commit_opens_no_path_of_the_servers_machine(ways, home, tmp_path):
    """Who commits may write any path into a config; what lies there is not theirs to learn."""
    secret = tiny.base(tmp_path / "secret", seed=6)
    delta = tiny.lora(tmp_path / "delta", secret, base_model_name_or_path=str(secret.path), targets=("q_proj",)).path

    version = ways.commit(delta, "team/curious", "llama")

    assert (version.base.name, version.base_claim) == ("llama", "")


def test_a_server_refuses_what_an_older_client_did_not_look_at(ways, home, tmp_path, monkeypatch):
    """The files are at hand when a push completes; a client that does not ask cannot get past it."""
    folder = delta_naming(tmp_path / "delta", home, "its id on the hub")
    monkeypatch.setattr("deltareg.client.push.push_target.check_claims", lambda *_, **__: ("", ""))

    with pytest.raises(Refused, match=r"base_mismatch: .*llama \(Org/Llama\), and you said other"):
        ways.python(folder, "team/old-client", "other")
    with ways.site.client() as client, pytest.raises(NotFound):
        client.show("team/old-client")


def test_a_folder_is_the_same_before_and_after_a_push(ways, home, tmp_path):
    for way in ("command", "python"):
        folder = delta_naming(tmp_path / way / "delta", home, "its name")
        before = state(folder)

        getattr(ways, way)(folder, f"team/same-{way}", "llama")
        with pytest.raises(DeltaregError):
            getattr(ways, way)(folder, f"team/same-{way}", "other")

        assert state(folder) == before


def state(folder):
    paths = sorted([folder, *folder.rglob("*")])
    return [(p.name, p.stat().st_mtime_ns, p.stat().st_mode, p.read_bytes() if p.is_file() else b"") for p in paths]
