"""What the manifests start, with the settings that they give: migration, server and a worker in a pod, as processes."""

import sys
from pathlib import Path

import certifi
import pytest

from deltareg.signing.keys import SigningKey
from tests.deploy.kubernetes_tools import BASE, documents
from tests.exchange.issuer import Issuer, documented
from tests.faults.payloads import BASE as MODEL
from tests.faults.payloads import payload
from tests.fixtures.processes import until

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(300)]
POD = {"metadata.name": "deltareg-worker-cpu-0", "spec.nodeName": "rack-7"}
ACCOUNT = "deltareg-worker-cpu"


def started_by(kind, folder, secrets):
    """Give the command line and the variables of the pods of a kind, with the paths of a container below a folder."""
    found = [each for file in BASE.glob("*.yaml") for each in documents(file.read_text()) if each["kind"] == kind]
    (container,) = found[0]["spec"]["template"]["spec"]["containers"]
    environ = {}
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        if "secretKeyRef" in source:
            value = secrets[source["secretKeyRef"]["name"], source["secretKeyRef"]["key"]]
        else:
            value = POD[source["fieldRef"]["fieldPath"]] if "fieldRef" in source else variable["value"]
        environ[variable["name"]] = f"{folder}{value}" if value.startswith("/") else value
    program = Path(sys.executable).with_name(container["command"][0])
    return [str(program), *container["args"]], environ


@pytest.fixture
def issuer():
    found = Issuer()
    yield found
    found.close()


def test_a_pod_verifies_what_was_pushed_to_the_servers(processes, empty_postgresql_url, issuer):
    root = processes.folder / "container"
    for name in ("run/deltareg", "etc/deltareg", "var/lib/deltareg"):
        (root / name).mkdir(parents=True)
    keys, token = root / "run" / "deltareg", root / "run" / "deltareg" / "token"
    for name, content in (("server-key.pem", SigningKey.generate().pem()), ("webhook-key", b"A" * 43 + b"=")):
        (keys / name).write_bytes(content)
        (keys / name).chmod(0o600)
    (root / "etc" / "deltareg" / "ca.crt").write_text(Path(certifi.where()).read_text())
    secrets = {("deltareg-database", "uri"): empty_postgresql_url.replace("postgresql+psycopg://", "postgresql://")}

    line, environ = started_by("Job", root, secrets)
    migrated = processes.start("migrate", *line, environ=processes.environ("migrate", **environ))
    assert migrated.wait() == 0, migrated.errors
    line, environ = started_by("Deployment", root, secrets)
    environ |= {"DELTAREG_STORE_URL": (processes.folder / "blobs").as_uri(), "DELTAREG_PORT": "0"}
    environ["DELTAREG_ISSUERS"] += f",{issuer.url}"
    environ["DELTAREG_DATA_DIR"] = str(root / "var" / "lib" / "deltareg" / "data")  # as the image has it
    server = processes.api("server", command=line)
    server._environ |= environ
    server.start()
    server.url = server.url.replace("0.0.0.0", "127.0.0.1")
    token.write_text(issuer.sign(claims(server.url)))
    with server.client(processes.folder / "cache") as client:
        client.bases.push(MODEL, "tiny")
        client.trusts.add_worker(issuer.url, f"deltareg/{ACCOUNT}")
        pushed = client.push(payload(processes.folder, 1), "lab/line", base="tiny").version
        line, environ = started_by("StatefulSet", root, secrets)
        environ |= {"DELTAREG_SERVER": server.url}
        worker = processes.start("worker", *line, environ=processes.environ("worker", **environ))
        verdict = until(lambda: client.verdicts.list(pushed.ref).items, "the pod has verified it", timeout_s=120)[0]
        (named,) = client.runs.workers().items
        key = client.keys.list().items[0]
    worker.send(15)

    assert verdict.suite == "smoke"
    assert (named.name, named.labels["pool"]) == (POD["metadata.name"], "cpu")
    assert (key.name, key.host, key.state) == (f"pod-1-{POD['metadata.name']}", "rack-7", "live")
    assert (root / "var" / "lib" / "deltareg" / "key.pem").stat().st_mode & 0o77 == 0
    assert worker.wait() in {0, -15}


def claims(audience):
    """Write what a cluster says of the pod."""
    cluster = documented("kubernetes")["kubernetes.io"] | {
        "pod": {"name": POD["metadata.name"]},
        "serviceaccount": {"name": ACCOUNT},
    }
    subject = f"system:serviceaccount:deltareg:{ACCOUNT}"
    return documented("kubernetes", **{"aud": [audience], "sub": subject, "kubernetes.io": cluster})
