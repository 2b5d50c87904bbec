"""Servers behind PgBouncer that lends a connection for a transaction alone, with the lines of the page."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from operator import methodcaller
from pathlib import Path

import pytest
import sqlalchemy as sa

from deltareg.db.session import create_engine, options_that_do_not_hold, with_retry
from deltareg.db.tables import principals
from deltareg.errors import Unavailable
from tests.conftest import REPOSITORY
from tests.faults.ledger import Ledger
from tests.faults.payloads import BASE, payload
from tests.fixtures.processes import until

_PROGRAM = os.environ.get("DELTAREG_TEST_PGBOUNCER") or shutil.which(
    "pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin"
)
_PAGE = REPOSITORY / "docs" / "howto" / "several-servers.md"
VERSIONS, SERVERS, CONNECTIONS = 24, 2, 5

pytestmark = [
    pytest.mark.soak,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(_PROGRAM is None, reason="needs PgBouncer: apt-get install pgbouncer"),
]


@pytest.fixture
def pooled_url(postgresql_url, tmp_path):
    """Run PgBouncer as the page says, in front of a fresh database; give the URL through it."""
    url = sa.make_url(postgresql_url)
    (lines,) = re.findall(r"```ini\n(\[databases\].*?)```", _PAGE.read_text("utf-8"), re.DOTALL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host = url.query.get("host") or url.host
    own = {
        "deltareg = .*": f"{url.database} = host={host} dbname={url.database} user={url.username}"
        + (f" port={url.port}" if url.port else ""),
        "listen_port = .*": f"listen_port = {port}",
        "auth_type = .*\nauth_file = .*": "auth_type = any\nunix_socket_dir =",
        "default_pool_size = .*": f"default_pool_size = {CONNECTIONS}",
    }
    for pattern, line in own.items():
        lines, count = re.subn(f"(?m)^{pattern}$", line, lines)
        assert count == 1, pattern
    config = tmp_path / "pgbouncer.ini"
    config.write_text(lines)
    config.chmod(0o644)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    words = [_PROGRAM, *(["-u", owner_of(host)] if os.geteuid() == 0 else []), str(config)]
    with (tmp_path / "pgbouncer.log").open("wb") as log:
        running = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        until(lambda: running.poll() is not None or is_up(port), "PgBouncer answers")
        assert running.poll() is None, (tmp_path / "pgbouncer.log").read_text()
        yield f"postgresql+psycopg://{url.username}@127.0.0.1:{port}/{url.database}"
    finally:
        running.send_signal(signal.SIGQUIT)  # SIGTERM waits for its clients
        running.wait(30)


def held(engine):
    """Ask once PgBouncer has noticed which of its connections are gone."""
    with suppress(Unavailable):
        return [options_that_do_not_hold(engine)]
    return None


def owner_of(host):
    """Give who may reach the server's socket; it refuses to be root."""
    owner = Path(host).owner() if str(host).startswith("/") else "nobody"
    return "nobody" if owner == "root" else owner


def is_up(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_what_a_connection_asks_for_holds_once_the_role_has_it(pooled_url, postgresql_url):
    engine = create_engine(pooled_url)
    before = options_that_do_not_hold(engine)
    (statements,) = re.findall(r"```sql\n(ALTER.*?)```", _PAGE.read_text("utf-8"), re.DOTALL)
    user = sa.make_url(postgresql_url).username
    direct = sa.create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    with closing(direct.connect()) as conn:
        name = sa.make_url(postgresql_url).database
        for statement in statements.replace("ROLE deltareg", f"ROLE {user} IN DATABASE {name}").strip().splitlines():
            conn.exec_driver_sql(statement)
        conn.exec_driver_sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            " AND pid <> pg_backend_pid()"
        )
    direct.dispose()
    engine.dispose()

    after = until(lambda: held(engine), "PgBouncer has new connections")
    engine.dispose()

    assert before == ["lock_timeout", "idle_in_transaction_session_timeout", "jit"]
    assert after == [[]]


def test_more_threads_than_connections_write_and_read_prepared_statements(pooled_url):
    engine, wrong = create_engine(pooled_url, connections=20), []

    def work(number):
        for turn in range(40):  # psycopg prepares what it sends more than five times
            name = f"p-{number}-{turn}"
            with_retry(engine, methodcaller("execute", sa.insert(principals).values(name=name, kind="user")))
            with engine.connect() as conn:
                found = conn.execute(sa.select(principals.c.name).where(principals.c.name == name)).scalar()
            if found != name:
                wrong.append((name, found))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.connect() as conn:
        count = conn.execute(sa.select(sa.func.count()).select_from(principals)).scalar()

    engine.dispose()
    assert wrong == []
    assert count == 16 * 40


def test_pushes_through_two_servers_are_all_there(processes, pooled_url, postgresql_url):
    store = (processes.folder / "blobs").as_uri()
    keys = {"store_url": store, "signing_key": processes.folder / "key.pem", "database_connections": 20}
    servers = [processes.api(f"s{n}", database_url=pooled_url, **keys).start() for n in range(SERVERS)]
    token = servers[0].token
    with servers[0].client(processes.folder / "cache") as client:
        client.bases.push(BASE, "tiny")

    def push(number):
        server = servers[number % SERVERS]
        with server.client(processes.folder / f"cache-{number}", token=token) as client:
            return client.push(payload(processes.folder, number), f"lab/line-{number}", base="tiny").version.ref

    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(push, range(VERSIONS)))
    with servers[1].client(processes.folder / "reader", token=token) as client:
        shown = [client.versions.show(ref).ref for ref in refs]

    with closing(Ledger(postgresql_url)) as ledger:
        assert len(ledger.versions()) == VERSIONS
    assert shown == refs
    for server in servers:
        with suppress(ProcessLookupError):
            server.stop()
    assert not any("prepared statement" in server.process.errors for server in servers)
