"""MLflow itself, over SQLite: models whose bytes are here, runs that versions name, and back."""

import tomllib
from contextlib import suppress
from pathlib import Path

import pytest

from deltareg.errors import InvalidInput, NotFound
from tests.cli.steps import done, push, push_base
from tests.fixtures.registries import SAMPLES

pytestmark = [
    pytest.mark.soak,  # it takes three seconds to load, and five to make a database
    pytest.mark.filterwarnings("ignore"),  # what it warns of is its own
]
LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
NAMES = sorted(path.name for path in LORA.iterdir())


@pytest.fixture(scope="module")
def mlflow():
    library = pytest.importorskip("mlflow", reason="needs MLflow: pip install 'deltareg[mlflow]'")
    from mlflow.store.artifact import artifact_repository_registry as registry

    from deltareg.integrations.mlflow import DeltaregArtifactRepository

    with suppress(ValueError):  # an installed wheel has it by its entry point
        registry._artifact_repository_registry.register("deltareg", DeltaregArtifactRepository)
    return library


@pytest.fixture(scope="module")
def tracked(mlflow, tmp_path_factory):
    """Keep MLflow's database and artifacts in a folder."""
    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri, uri)
    client.create_experiment("tuning", artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    mlflow.set_experiment("tuning")
    return client


@pytest.fixture
def run(mlflow, tracked):
    """Log a run with a LoRA among its artifacts, as a training does."""
    with mlflow.start_run(run_name="night") as run:
        mlflow.log_params({"lr": 1e-4, "rank": 8, "long": "x" * 400})
        mlflow.log_metrics({"accuracy": 0.5}, step=1)
        mlflow.log_metrics({"accuracy": 0.9125, "loss": 1.25e-7}, step=2)
        mlflow.log_artifacts(str(LORA), "checkpoints/best")
        mlflow.log_dict({"note": 1}, "notes.json")
    return run.info.run_id


@pytest.fixture
def named(user, monkeypatch):
    """Push a version, and give its line as addresses have it, with the server."""
    push(user)
    return user.server.url.partition("://")[2] + "/me/chat"


def test_the_plug_in_is_named_for_the_scheme(mlflow, repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    from deltareg.integrations.mlflow import DeltaregArtifactRepository as Repository

    found = project["entry-points"]["mlflow.artifact_repository"]["deltareg"]

    assert found == f"{Repository.__module__}:{Repository.__name__}"


def test_a_model_with_an_alias_is_the_bytes_of_a_version(user, named, mlflow, tracked, tmp_path):
    from deltareg.client import Client
    from deltareg.integrations.mlflow_runs import register_version

    with Client() as client:
        digest = client.show("me/chat:v1").digest
        number = register_version(client, "me/chat:v1", "support", alias="champion")

    made = tracked.get_model_version("support", number)
    assert (made.source, made.status) == (f"deltareg://{named}@{digest}", "READY")
    got = mlflow.artifacts.download_artifacts("models:/support@champion", dst_path=str(tmp_path))
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (LORA / name).read_bytes(), got


def test_an_address_by_itself_is_downloaded_whole_and_by_file(named, mlflow, tmp_path):
    whole = mlflow.artifacts.download_artifacts(f"deltareg://{named}:v1", dst_path=str(tmp_path))
    one = mlflow.artifacts.download_artifacts(f"deltareg://{named}:v1/adapter_config.json")
    listed = mlflow.artifacts.list_artifacts(f"deltareg://{named}:v1")

    folder = tmp_path if (tmp_path / NAMES[0]).exists() else tmp_path / "chat:v1"
    assert sorted(path.name for path in folder.iterdir()) == NAMES, whole
    assert Path(one).read_bytes() == (LORA / "adapter_config.json").read_bytes()
    assert sorted(info.path.rpartition("/")[2] for info in listed) == NAMES
    assert all(info.file_size for info in listed)


def test_what_is_not_there_and_what_would_write_is_refused(named, mlflow, tmp_path):
    from deltareg.integrations.mlflow import DeltaregArtifactRepository

    repository = DeltaregArtifactRepository(f"deltareg://{named}:v1")
    with pytest.raises(OSError, match="deltareg push DIR"):
        repository.log_artifacts(str(LORA))
    with pytest.raises(NotFound, match="me/chat"):
        DeltaregArtifactRepository(f"deltareg://{named}:v9").list_artifacts()
    with pytest.raises(InvalidInput, match="names no version"):
        DeltaregArtifactRepository(f"deltareg://{named}").list_artifacts()


def test_a_push_names_its_run(user, run):
    push_base(user)

    done(user, "push", LORA, "me/chat", "--base", "tinyllama", "--mlflow-run", run, "--label", "metric.loss=mine")
    noted = user("push", LORA, "me/other", "--base", "tinyllama", "--mlflow-run", run).err

    labels = done(user, "show", "me/chat:v1")["labels"]
    assert labels["mlflow.run"] == run
    assert (labels["metric.accuracy"], labels["param.lr"]) == ("0.9125", "0.0001")
    assert labels["metric.loss"] == "mine"
    assert "run.url" not in labels  # a file has no page
    assert "param.long" not in labels
    assert "1 metric or param" in noted


def test_a_run_that_there_is_not_keeps_a_push_from_beginning(user, tracked):
    push_base(user)

    ended = user("push", LORA, "me/chat", "--base", "tinyllama", "--mlflow-run", "0" * 32)

    assert ended.status == 3
    assert "MLFLOW_TRACKING_URI" in ended.err
    assert user("show", "me/chat").status == 3


def test_an_address_of_mlflow_gives_no_password_on(monkeypatch, mlflow):
    from deltareg.integrations import mlflow_runs

    assert mlflow_runs._plain("https://ana:secret@mlflow.example:5000/") == ("https://mlflow.example:5000")


def test_what_a_run_has_logged_is_imported(user, run):
    push_base(user)
    done(user, "push", LORA, "me/chat", "--base", "tinyllama")

    made = done(user, "import", "mlflow", run, "me/night", "--base", "tinyllama")

    shown = done(user, "show", "me/night:v1")
    assert made["digest"] == done(user, "show", "me/chat:v1")["digest"]
    assert shown["labels"]["imported.from"] == f"mlflow:runs:/{run}/checkpoints/best"
    assert shown["labels"]["metric.accuracy"] == "0.9125"
    assert shown["message"].startswith("imported from mlflow:")


def test_of_several_deltas_of_a_run_one_is_named(user, mlflow, run):
    push_base(user)
    with mlflow.start_run(run_id=run):
        mlflow.log_artifacts(str(LORA), "checkpoints/last")

    refused = user("import", "mlflow", run, "me/night", "--base", "tinyllama")
    taken = user("import", "mlflow", run, "me/night", "--base", "tinyllama", "--path", "checkpoints/last")

    assert refused.status == 2
    assert "checkpoints/best, checkpoints/last" in refused.err
    assert taken.status == 0


def test_a_registered_model_is_imported_by_its_alias(user, run, mlflow, tracked):
    push_base(user)
    with suppress(mlflow.MlflowException):
        tracked.create_registered_model("helper")
    made = tracked.create_model_version("helper", f"runs:/{run}/checkpoints/best", run_id=run)
    tracked.set_registered_model_alias("helper", "best", made.version)

    done(user, "import", "mlflow", "models:/helper@best", "me/help", "--base", "tinyllama")

    shown = done(user, "show", "me/help:v1")
    assert shown["labels"]["imported.from"] == "mlflow:models:/helper@best"


def test_a_folder_of_no_delta_is_told(user, mlflow, tracked, tmp_path):
    push_base(user)
    with mlflow.start_run() as run:
        mlflow.log_dict({}, "a/b.json")

    ended = user("import", "mlflow", run.info.run_id, "me/x", "--base", "tinyllama")

    assert ended.status == 3
    assert "holds no delta" in ended.err
