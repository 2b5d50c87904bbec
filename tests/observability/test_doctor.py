"""`server doctor`: an answer to each question from what the server keeps, and a bundle without any secret."""

import json
import random
import tarfile
from base64 import b64encode
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from deltareg.api.doctor.room import forecast
from deltareg.api.doctor.slow import group
from deltareg.api.observability.growth import RoomSample, add_sample
from deltareg.api.serve import server
from deltareg.service.access.tokens import mint_secret
from deltareg.signing.key_file import read_or_make_key
from deltareg.signing.secret_box import read_or_make_box

DAY_S = 86_400.0
NOW = 1_800_000_000.0
PASSWORD = "p4ss wörd/of#ada"


@pytest.fixture
def doctor(tmp_path, sqlite_url, monkeypatch):
    """Run the command with settings of its own; gives the exit status and the output."""
    monkeypatch.setenv("DELTAREG_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DELTAREG_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("DELTAREG_STORE_URL", (tmp_path / "blobs").as_uri())
    monkeypatch.setenv("DELTAREG_PORT", "1")
    (tmp_path / "data" / "records").mkdir(parents=True)

    def run(*args):
        ended = CliRunner().invoke(server, ["doctor", *args])
        assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
        return ended.exit_code, ended.output

    return run


def test_a_disk_that_fills_is_full_when_that_is_so():
    chance = random.Random(5)
    falls = [(NOW + hour * 3_600, 1e12 - hour * 1e9 + chance.uniform(-2e8, 2e8)) for hour in range(10 * 24)]

    left_s, told = forecast(falls, free=int(falls[-1][1]))

    assert left_s == pytest.approx((1000 - 239) * 3_600, rel=0.01)
    assert "24.0 GB less each day: full in 32 days" in told


@pytest.mark.parametrize("slope", [0.0, 1e6])
def test_a_disk_that_does_not_fill_is_never_full(slope):
    assert forecast([(NOW + hour * 3_600, 1e12 + hour * slope) for hour in range(48)], free=10**12)[0] is None


def test_a_push_is_all_its_requests_and_what_lies_between_them():
    parts = {"database": 1.0, "store": 5.0}
    lines = [
        {"at": NOW + at, "s": 7.0, "status": 200, "about": "upload_id=u1", "request": f"r-{at}", "parts": parts}
        for at in (10, 30)
    ]

    (push,) = group([*lines]).values()

    assert (push.seconds, push.requests) == (27.0, 2)
    assert push.describe() == (
        "13 s between its requests, at the client, 10 s in the store, 2.0 s in the database, 2.0 s checking"
    )


def test_what_a_command_asks_beside_its_upload_is_of_its_push():
    def line(at, about, request):
        return {"at": NOW + at, "s": 2.0, "status": 200, "about": about, "request": request, "route": "/r", "parts": {}}

    lines = [line(0, "", "r-1"), line(3, "upload_id=u1", "r-1"), line(9, "ns=lab name=chat", "r-2")]
    lines += [line(20, "", "r-3"), line(30, "upload_id=u2", "r-3"), line(40, "upload_id=u3", "r-3")]

    work = group(lines)

    assert {key: each.requests for key, each in work.items()} == {"u1": 2, "#2": 1, "#3": 1, "u2": 1, "u3": 1}
    assert work["u1"].seconds == 5.0
    assert [key for key, each in work.items() if each.is_of("lab/chat")] == ["#2"]


def test_questions_are_answered_from_what_is_kept(doctor, tmp_path):
    records = tmp_path / "data" / "records"
    line = {"at": NOW, "s": 42.0, "status": 201, "method": "PUT", "route": "/api/v1/uploads/{upload_id}", "by": "ada"}
    line |= {"about": "upload_id=gone", "request": "r-9", "parts": {"store": 40.0}}
    (records / "slow-requests.0.jsonl").write_text(json.dumps(line) + "\n{cut")
    for day in range(5):
        add_sample(records, RoomSample(NOW - day * DAY_S, {"old": 1}))

    status, told = doctor("--since", "2027-01-14")

    assert "went in the store: 40 s" in told
    assert "push gone by ada" in told
    assert "request r-9" in told
    assert "Nothing is stuck." in told
    assert status == 0


def test_a_database_that_is_away_is_said(doctor, monkeypatch):
    monkeypatch.setenv("DELTAREG_DATABASE_URL", f"postgresql://ada:{quote(PASSWORD, safe='')}@127.0.0.1:1/registry")

    status, told = doctor("--json")

    assert status == 1
    assert json.loads(told)["What is stuck?"] == {"database": "down"}


@pytest.mark.parametrize("is_away", [True, False])
def test_a_bundle_has_no_secret_of_the_server(doctor, tmp_path, monkeypatch, is_away):
    data = tmp_path / "data"
    key = data / "server-key.pem"
    read_or_make_key(key)
    read_or_make_box(tmp_path / "box")
    (tmp_path / "oidc.toml").write_text('[[provider]]\nname = "x"\nclient_secret = "of-the-provider-7"\n')
    (data / "admin-token").write_text(mint_secret("pat"))
    given = {
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG",
        "AWS_SESSION_TOKEN": "IQoJb3JpZ2luX2VjE",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=of-the-collector",
        "DELTAREG_TOKEN": mint_secret("wrk"),
        "PGPASSWORD": "of-libpq-9",
        "HTTPS_PROXY": "http://ada:of-the-proxy@proxy:3128",
        "DELTAREG_SECOND_STORE_URL": "s3://of-access:of-the-bucket@bucket/prefix",
        "DELTAREG_WEBHOOK_KEY": str(tmp_path / "box"),
        "DELTAREG_OIDC": str(tmp_path / "oidc.toml"),
    }
    secrets = []
    if is_away:
        address = f"postgresql://ada:{quote(PASSWORD, safe='')}@127.0.0.1:1/registry?sslpassword=of-the-key"
        given["DELTAREG_DATABASE_URL"] = address
        secrets += [PASSWORD, "of-the-key"]
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    secrets += ["of-the-proxy", "of-the-bucket", "of-access", "of-the-collector", "of-the-provider-7"]
    secrets += ["of-libpq-9", given["AWS_SECRET_ACCESS_KEY"], given["AWS_SESSION_TOKEN"]]
    secrets += [given["DELTAREG_TOKEN"], (data / "admin-token").read_text(), (tmp_path / "box").read_text().strip()]
    secrets += key.read_text().split("\n")[1:2]
    # Even if one of them found its way into a record.
    told = [{"at": NOW, "s": 3.0, "status": 500, "route": f"/{one}", "about": one, "parts": {}} for one in secrets]
    (data / "records" / "slow-requests.0.jsonl").write_text("\n".join(map(json.dumps, told)))
    file = tmp_path / "bundle.tar.gz"

    doctor("--bundle", str(file), "--since", "2020-01-01")

    with tarfile.open(file) as bundle:
        texts = {name: (bundle.extractfile(name) or pytest.fail(name)).read().decode() for name in bundle.getnames()}
    assert file.stat().st_mode & 0o777 == 0o600
    assert set(texts) >= {f"deltareg-bundle/{name}" for name in ("doctor.json", "settings.json", "versions.txt")}
    assert '"AWS_SECRET_ACCESS_KEY"' in texts["deltareg-bundle/settings.json"]
    for secret in secrets:
        forms = {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]}
        forms.add(b64encode(secret.encode()).decode())
        found = [name for name, text in texts.items() for form in forms if form in text]
        assert found == [], secret
