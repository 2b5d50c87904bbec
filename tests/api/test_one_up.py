"""One registry for a data folder, and two that begin a new one together."""

import os
import signal
import sys

import pytest

from deltareg.api.one_up import only_up
from deltareg.api.one_up_of_database import only_up_of
from deltareg.errors import Conflict
from tests.fixtures.databases import BOTH
from tests.fixtures.processes import until

UP = (sys.executable, "-m", "deltareg.api", "up", "--workers", "0")


def test_a_second_one_is_told_where_the_first_is(tmp_path):
    with only_up(tmp_path) as tell:
        tell("http://127.0.0.1:1234")

        with pytest.raises(Conflict) as refused, only_up(tmp_path):
            raise AssertionError("two at once")

    assert f"http://127.0.0.1:1234 (process {os.getpid()})" in refused.value.message


def test_one_that_is_starting_has_no_address_yet(tmp_path):
    with only_up(tmp_path), pytest.raises(Conflict, match="which is starting"), only_up(tmp_path):
        raise AssertionError("two at once")


def test_what_has_ended_is_no_hindrance(tmp_path):
    with only_up(tmp_path):
        pass

    with only_up(tmp_path):
        pass


@pytest.mark.parametrize("system", BOTH)
def test_a_second_one_over_the_same_database_is_refused_from_any_folder(system, request, tmp_path):
    """Its start would end the token and the key of the first one's workers."""
    url = request.getfixturevalue(f"{system}_url")
    first, second = tmp_path / "first", tmp_path / "second"

    second_up = only_up_of(url, second, "http://127.0.0.1:5")
    with only_up_of(url, first, "http://127.0.0.1:1234"), pytest.raises(Conflict) as refused, second_up:
        raise AssertionError("two at once")
    with only_up_of(url, second, "http://127.0.0.1:5"):
        pass

    assert "http://127.0.0.1:1234" in refused.value.message
    assert f"process {os.getpid()}" in refused.value.message


@pytest.mark.slow
def test_a_second_up_leaves_the_first_alone(processes):
    first = processes.api(command=UP).start()
    environ = processes.environ("other", DELTAREG_DATA_DIR=str(first.data_dir), DELTAREG_PORT="0")

    second = processes.start("other", *UP, environ=environ)
    status = second.wait()

    assert status == 5
    assert f"runs on {first.data_dir} already: {first.url} (process {first.process.pid})" in (second.errors)
    first.process.send(signal.SIGINT)
    assert first.process.wait() == 0
    assert first.process.errors.endswith("stopped\n")
    assert "Traceback" not in first.process.errors


@pytest.mark.slow
def test_a_service_that_is_asked_to_end_ends_well(processes):
    server = processes.api().start()

    server.process.send(signal.SIGTERM)

    assert server.process.wait() == 0


@pytest.mark.slow
def test_two_that_begin_a_new_folder_together_both_come_up(processes):
    servers = [processes.api(f"server-{number}") for number in range(2)]
    for server in servers:
        server._environ["DELTAREG_DATA_DIR"] = str(processes.folder / "shared")
    for server in servers:
        server.process = processes.start(server._name, *server._command, environ=server._environ)

    for server in servers:
        server.url = until(server._announced, "it says where it listens")
        until(server._is_ready, "it is ready")

    for number, server in enumerate(servers):
        with server.client(processes.folder / f"cache-{number}") as client:
            assert client.whoami().principal == "admin"
            assert len(client.tokens.list().items) == 1
