"""What manifests of Kubernetes say, held against the code: commands, settings, ports, paths, keys."""

import re
import tomllib
from urllib.parse import parse_qsl, urlsplit

from deltareg.api.settings import ServerSettings
from deltareg.words import RUN_KIND_NAMES
from tests.architecture.tree import REPOSITORY
from tests.deploy.test_deploy import known_variables

SCRIPTS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
OTHERS = {"HF_HUB_OFFLINE", "install", "sleep"}  # of other programs; those of coreutils are in each image
PATHS = {"/livez", "/readyz", "/readyz?exclude=store", "/metrics"}
SECRETS = {"/run/deltareg/server-key.pem", "/run/deltareg/webhook-key", "/run/deltareg/token", "/run/deltareg/key.pem"}
PORT = ServerSettings.model_fields["port"].default
_FIRST = {"deltareg-migrate": ["upgrade"], "deltareg-server": ["run"], "deltareg-worker": ["run"]}


def check_manifests(documents):
    """Check all documents of one release, which belong together."""
    workloads = [each for each in documents if each["kind"] in {"Deployment", "StatefulSet", "Job"}]
    assert {each["kind"] for each in workloads} == {"Deployment", "StatefulSet", "Job"}
    for each in workloads:
        check_pod(each["spec"]["template"]["spec"])
        selector = each["spec"].get("selector", {}).get("matchLabels", {})
        assert selector.items() <= each["spec"]["template"]["metadata"]["labels"].items()
    (server,) = [each for each in documents if each["kind"] == "Deployment"]
    (service,) = [each for each in documents if each["kind"] == "Service"]
    labels = server["spec"]["template"]["metadata"]["labels"]
    address = f"http://{service['metadata']['name']}.{service['metadata']['namespace']}.svc:{PORT}"
    assert service["spec"]["selector"].items() <= labels.items()
    assert [port["port"] for port in service["spec"]["ports"]] == [PORT]
    for each in workloads:
        check_address(each, address)
    check_scaling(documents, address)
    check_reach(documents)


def check_pod(pod):
    """Check that a pod runs commands of ours as nobody special, with settings that there are."""
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsUser"] == 10001 == pod["securityContext"]["fsGroup"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    claims = {"home"}  # of a pool with a cache
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        command = container["command"][0]
        assert command in SCRIPTS or command in OTHERS
        assert container.get("args", [])[:1] == _FIRST.get(command, container.get("args", [])[:1])
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes | claims
        names = [variable["name"] for variable in container.get("env", [])]
        assert set(names) <= known_variables() | OTHERS
        assert len(names) == len(set(names))
        check_files(pod, container)
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            if name in container:
                assert container[name]["httpGet"]["path"] in PATHS
                assert container[name]["httpGet"]["port"] in {port["name"] for port in container["ports"]}
        assert all(port["containerPort"] == PORT for port in container.get("ports", []))


def check_files(pod, container):
    """Check that a file which a setting names lies in a volume, and that one with a key is its owner's alone."""
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    kinds = {volume["name"]: next(key for key in volume if key != "name") for volume in pod["volumes"]}
    for variable in container.get("env", []):
        value = variable.get("value", "")
        if not value.startswith("/"):
            continue
        folder = value.rpartition("/")[0]
        mount = next((path for path in mounts if f"{value}/".startswith(f"{path}/")), None)
        assert mount, f"{variable['name']}={value} lies in no volume"
        if kinds.get(mounts[mount]) == "emptyDir" and folder == "/run/deltareg":
            copied = [word for each in pod["initContainers"] for word in each["args"]]
            assert f"/run/secrets/deltareg/{value.rpartition('/')[2]}" in copied
            assert all("0600" in each["command"] for each in pod["initContainers"])


def check_address(workload, address):
    """Check that workers know the servers by their service, and say so to their cluster."""
    pod = workload["spec"]["template"]["spec"]
    env = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    if "DELTAREG_SERVER" in env:
        assert env["DELTAREG_SERVER"] == address
        projected = [volume["projected"]["sources"][0] for volume in pod["volumes"] if "projected" in volume]
        audiences = [source["serviceAccountToken"]["audience"] for source in projected]
        assert audiences == ([address] if "DELTAREG_WORKER_ID_TOKEN_FILE" in env else [])
        assert pod["terminationGracePeriodSeconds"] > float(env["DELTAREG_WORKER_STOP_GRACE_S"])
    elif "DELTAREG_ALLOWED_HOSTS" in env:
        assert urlsplit(address).hostname in env["DELTAREG_ALLOWED_HOSTS"].split(",")


def check_scaling(documents, address):
    """Check that KEDA asks what the registry answers, of the pool whose workers it scales."""
    pools = {each["metadata"]["name"]: each for each in documents if each["kind"] == "StatefulSet"}
    scaled = [each["spec"] for each in documents if each["kind"] == "ScaledObject"]
    assert {each["scaleTargetRef"]["name"] for each in scaled} == set(pools)
    for each in scaled:
        (trigger,) = each["triggers"]
        url = urlsplit(trigger["metadata"]["url"])
        env = pools[each["scaleTargetRef"]["name"]]["spec"]["template"]["spec"]["containers"][0]["env"]
        offered = dict(pair.split("=") for pair in {v["name"]: v.get("value") for v in env}[_LABELS].split())
        asked = parse_qsl(url.query)
        assert f"{url.scheme}://{url.netloc}" == address
        assert url.path == "/api/v1/queue/demand"
        assert ("pool", offered["pool"]) in asked
        assert {key for key, _ in asked} <= {"pool", "label", "what", "asked"}
        assert {value for key, value in asked if key == "what"} <= set(RUN_KIND_NAMES)
        assert {f"{k}={v}" for k, v in offered.items() if k != "pool"} <= {v for key, v in asked if key == "label"}
        assert trigger["metadata"]["valueLocation"] == "wanted"
        assert each["minReplicaCount"] <= each["maxReplicaCount"]


def check_reach(documents):
    """Check that every policy and budget is about pods that there are, and that nobody reaches a worker."""
    pods = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in documents
        if each["kind"] in {"Deployment", "StatefulSet", "Job"}
    ]
    for each in documents:
        if each["kind"] in {"NetworkPolicy", "PodDisruptionBudget"}:
            chosen = each["spec"].get("podSelector") or each["spec"]["selector"]
            assert any(chosen["matchLabels"].items() <= labels.items() for labels in pods)
        if each["kind"] == "NetworkPolicy" and re.search("worker$", each["metadata"]["name"]):
            assert "ingress" not in each["spec"]
            assert set(each["spec"]["policyTypes"]) == {"Ingress", "Egress"}


_LABELS = "DELTAREG_WORKER_LABELS"
