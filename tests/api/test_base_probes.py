"""The general probe sets of bases, and the figures that workers keep with them, over HTTP."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.errors import BadSignature, Forbidden
from deltareg.signing.signed_statements import sign_statement
from deltareg.suites.base_probes import BaseProbes, draw
from deltareg.wire import FiguresReport
from deltareg.wire.statements import figures_statement
from deltareg_verify.messages.figures import Figures, ProbeLoss
from tests.signers import key_of

FIGURES = Figures(losses={"en": ProbeLoss(300.0, 100)}).encode().decode()
HERE = '{"device":"cpu"}'


@pytest.fixture
def registry(both_databases):
    both_databases.line()
    return both_databases


@pytest.fixture
def worker(registry):
    return registry.client(("read", "verify"), principal="worker", kind="wrk")


def send(client, probes, *, key, name="tinyllama", surroundings=HERE):
    statement = figures_statement(probes, surroundings=surroundings, figures=FIGURES)
    body = FiguresReport(envelope=sign_statement(statement, key).decode())
    return client._api.send("POST", f"/bases/{name}/figures", body=body)


def test_a_base_that_is_registered_has_a_probe_set_of_its_own(registry):
    client = registry.client()

    found = client.bases.probes("tinyllama")

    drawn = BaseProbes.decode(found.document.encode())
    view = client.bases.view("tinyllama")
    assert drawn == draw(found.identity, view.config)
    assert (found.digest, found.texts, found.modalities) == (str(drawn.digest), 14, ["text"])
    with read(registry.registry.engine) as conn:  # it was drawn with the base, not for the question
        assert conn.execute(sa.select(t.base_probes.c.digest)).scalars().all() == [found.digest]


def test_a_base_of_an_older_release_gets_its_set_when_somebody_asks(registry):
    client = registry.client()
    before = client.bases.probes("tinyllama")
    with write(registry.registry.engine) as conn:
        row = conn.execute(sa.select(t.bases)).mappings().one()
        old = {**row, "id": row["id"] + 1, "name": "older"}
        conn.execute(sa.insert(t.bases).values(old))

    found = client.bases.probes("older")

    assert BaseProbes.decode(found.document.encode()).texts
    assert client.bases.probes("older") == found
    assert client.bases.probes("tinyllama") == before


def test_what_a_worker_signed_of_a_base_is_kept_and_given_back_to_it(worker):
    probes = worker.base_probes("tinyllama")
    assert worker.figures_of(probes, surroundings=HERE) == ""

    worker.keep_figures(probes, surroundings=HERE, figures=FIGURES)
    worker.keep_figures(probes, surroundings=HERE, figures=FIGURES)

    kept = worker.base_probes("tinyllama")
    assert [one.signed_by for one in kept.figures] == ["worker"]
    assert worker.figures_of(kept, surroundings=HERE) == FIGURES
    assert worker.figures_of(kept, surroundings='{"device":"cuda"}') == ""


def test_a_worker_does_not_believe_what_another_signed(registry, worker):
    probes = worker.base_probes("tinyllama")
    worker.keep_figures(probes, surroundings=HERE, figures=FIGURES)
    other = registry.client(("read", "verify"), principal="other", kind="wrk")

    shown = other.base_probes("tinyllama")

    assert len(shown.figures) == 1
    assert other.figures_of(shown, surroundings=HERE) == ""
    stolen = [one.model_copy(update={"keyid": key_of("other").keyid}) for one in shown.figures]
    assert other.figures_of(shown.model_copy(update={"figures": stolen}), surroundings=HERE) == ""


def test_figures_that_are_not_the_workers_or_not_about_the_base_are_refused(registry, worker):
    probes = worker.base_probes("tinyllama")

    with pytest.raises(BadSignature):
        send(worker, probes, key=key_of("somebody"))
    for change in ({"digest": f"sha256:{'0' * 64}"}, {"root": "blake3:0"}, {"identity": "x"}):
        with pytest.raises(BadSignature, match="not about tinyllama"):
            send(worker, probes.model_copy(update=change), key=key_of("worker"))
    with pytest.raises(Forbidden):
        send(registry.client(("read", "push")), probes, key=key_of("worker"))

    assert worker.base_probes("tinyllama").figures == []


def test_what_a_revoked_key_signed_is_not_shown_any_more(registry, worker):
    worker.keep_figures(worker.base_probes("tinyllama"), surroundings=HERE, figures=FIGURES)

    with write(registry.registry.engine) as conn:
        conn.execute(
            sa.update(t.signing_keys)
            .where(t.signing_keys.c.keyid == key_of("worker").keyid)
            .values(revoked_at=1, reason="stolen")
        )

    assert registry.client().bases.probes("tinyllama").figures == []
