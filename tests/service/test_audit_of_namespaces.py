"""The audit trail by namespace: its owners read what is about it, and nothing else."""

from dataclasses import replace

import pytest

from deltareg.errors import Forbidden, InvalidInput, NotFound
from deltareg.refs import LineRef
from deltareg.service.access.audit import AuditQuery, list_audit
from deltareg.service.access.members import add_member
from deltareg.service.access.namespaces import change_namespace, create_namespace
from deltareg.service.authority.grants import Grant, Right
from deltareg.service.authority.resources import Namespace
from deltareg.service.channels.channels import create_channel
from deltareg.service.names.namespaces import rename_namespace
from deltareg.service.registry import Registry
from deltareg.store.memory import MemoryStore
from deltareg.wire import MemberAdd, NamespaceChange, NamespaceCreate, Rename
from tests.service import rows


@pytest.fixture
def registry(engine):
    """Give a registry without a store of its own."""
    return Registry(engine, MemoryStore())


OWNED = frozenset(Grant(right, Namespace(name)) for right in Right for name in ("lab", "lab-2"))


@pytest.fixture
def ada(registry):
    """Give an admin who made two namespaces and a channel."""
    admin = rows.caller(registry.engine)
    for name in ("lab", "lab-other"):
        create_namespace(registry, admin, NamespaceCreate(name=name))
    rows.line(registry.engine, maker=admin)
    create_channel(registry, admin, LineRef("lab", "x"), "night")
    rows.caller(registry.engine, "bob")
    add_member(registry, admin, MemberAdd(principal="bob", role="reader", namespace="lab"))
    add_member(registry, admin, MemberAdd(principal="bob", role="reader", namespace="lab-other"))
    change_namespace(registry, admin, "lab-other", NamespaceChange(visibility="private"))
    return admin


def read_as(registry, caller, **asked):
    return [
        (row.action, row.subject)
        for row in list_audit(registry, caller, AuditQuery(**asked), cursor=None, limit=50).items
    ]


def test_owners_read_what_is_about_their_namespace_alone(registry, ada):
    owner = replace(rows.caller(registry.engine, "eve"), grants=OWNED)

    assert read_as(registry, owner, namespace="lab") == [
        ("member.add", "member/lab/bob"),
        ("channel.create", "lab/x@night"),
        ("namespace.create", "namespace/lab"),
    ]
    assert read_as(registry, owner, namespace="lab", action="channel") == [("channel.create", "lab/x@night")]
    assert read_as(registry, owner, namespace="lab", action="chan") == []
    assert read_as(registry, owner, namespace="lab", subject="lab/x") == [("channel.create", "lab/x@night")]
    assert read_as(registry, owner, namespace="lab", subject="lab/x@nig") == []
    with pytest.raises(NotFound):
        read_as(registry, owner, namespace="lab-other")
    with pytest.raises(Forbidden):
        read_as(registry, owner)


def test_a_member_who_owns_nothing_reads_none_of_it(registry, ada):
    grants = frozenset(Grant(right, Namespace("lab")) for right in set(Right) - {Right.ADMIN})

    with pytest.raises(Forbidden):
        read_as(registry, replace(ada, grants=grants), namespace="lab")


def test_what_was_done_under_a_former_name_is_found_under_the_present_one(registry, ada):
    rename_namespace(registry, ada, "lab", Rename(to="lab-2"))
    owner = replace(rows.caller(registry.engine, "eve"), grants=OWNED)

    assert read_as(registry, owner, namespace="lab-2")[0] == ("namespace.rename", "namespace/lab-2")
    assert read_as(registry, owner, namespace="lab-2")[-1] == ("namespace.create", "namespace/lab")


def test_times_bound_what_is_read(registry, ada):
    rows_of_it = list_audit(registry, ada, AuditQuery(), cursor=None, limit=50).items
    middle = rows_of_it[2].at

    since = list_audit(registry, ada, AuditQuery(since=middle), cursor=None, limit=50).items
    until = list_audit(registry, ada, AuditQuery(until=middle), cursor=None, limit=50).items

    assert [*since, *until] == rows_of_it
    assert since[-1].at >= middle > until[0].at
    with pytest.raises(InvalidInput, match="not a time"):
        read_as(registry, ada, since="yesterday")
