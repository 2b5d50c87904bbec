"""Rules that the database itself enforces, written once and turned into triggers for both systems.

A rule is a condition, in SQL that SQLite and PostgreSQL both understand, under which a row is
refused, and the message of the refusal. A word in angle brackets in a condition stands for a phrase
of `PHRASES`, or of `DIALECTS` if the two differ: over JSON and the clock.

Released revisions call this module: what it writes for them never changes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from alembic import op

DIALECTS: dict[str, dict[str, str]] = {
    "sqlite": {
        "now_us": "(CAST(strftime('%s', 'now') AS INTEGER) * 1000000"
        " + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000)",
        "policy_number": "COALESCE(json_extract(c.policy, '$.approvals'), 0)",
        "policy_flag": "COALESCE(json_extract(c.policy, '$.protected'), 0) = 1",
        "policy_suites": "json_each(c.policy, '$.suites') AS s",
        "suite_name": "(CASE s.type WHEN 'text' THEN s.value ELSE json_extract(s.value, '$.suite') END)",
        "suite_age": "(CASE s.type WHEN 'text' THEN NULL ELSE json_extract(s.value, '$.max_age') END)",
        "terms_digest": "json_extract(d.suites, '$.\"' || <suite_name> || '\"')",
        "named_verdicts": "SELECT n.value FROM json_each(NEW.verdict_ids) AS n",
        "token_scopes": "SELECT n.value FROM json_each(k.scopes) AS n",
        "failed_checks": "SELECT 1 FROM json_each(NEW.checks) AS n WHERE json_extract(n.value, '$.verdict') = 'fail'",
        "w_failed": "FROM json_each(w.checks) AS n WHERE json_extract(n.value, '$.verdict') = 'fail'",
        "x_failed": "FROM json_each(x.checks) AS n WHERE json_extract(n.value, '$.verdict') = 'fail'",
        "check_name": "json_extract(n.value, '$.name')",
        "count_checks": "json_array_length(NEW.checks)",
        "asked_suite_digest": "json_extract(q.request, '$.suite_digest')",
        "asked_base_root": "json_extract(q.request, '$.base_root')",
    },
    "postgresql": {
        "now_us": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
        "policy_number": "COALESCE(CAST(c.policy ->> 'approvals' AS BIGINT), 0)",
        "policy_flag": "COALESCE(CAST(c.policy ->> 'protected' AS BOOLEAN), FALSE)",
        "policy_suites": "json_array_elements(COALESCE(c.policy -> 'suites', '[]')) AS s(value)",
        "suite_name": "(CASE json_typeof(s.value) WHEN 'string' THEN s.value #>> '{}' ELSE s.value ->> 'suite' END)",
        "suite_age": "(CASE json_typeof(s.value) WHEN 'string' THEN NULL ELSE s.value ->> 'max_age' END)",
        "terms_digest": "d.suites ->> <suite_name>",
        "named_verdicts": "SELECT n FROM json_array_elements_text(NEW.verdict_ids) AS n",
        "token_scopes": "SELECT n FROM json_array_elements_text(k.scopes) AS n",
        "failed_checks": "SELECT 1 FROM json_array_elements(NEW.checks) AS n(value)"
        " WHERE n.value ->> 'verdict' = 'fail'",
        "w_failed": "FROM json_array_elements(w.checks) AS n(value) WHERE n.value ->> 'verdict' = 'fail'",
        "x_failed": "FROM json_array_elements(x.checks) AS n(value) WHERE n.value ->> 'verdict' = 'fail'",
        "check_name": "n.value ->> 'name'",
        "count_checks": "json_array_length(NEW.checks)",
        "asked_suite_digest": "q.request ->> 'suite_digest'",
        "asked_base_root": "q.request ->> 'base_root'",
    },
}
PHRASES = {
    "moves": "NEW.kind IN ('promote', 'rollback')",
    "guarded": "NOT NEW.break_glass",
    "promotes": "NEW.kind = 'promote' AND NOT NEW.break_glass",
    "in_channel": "FROM channels AS c WHERE c.id = NEW.channel_id",
    "w_waived": "w.verdict = 'fail' AND EXISTS (SELECT 1 <w_failed>) AND NOT EXISTS"
    " (SELECT 1 <w_failed> AND NOT EXISTS (SELECT 1 FROM waivers AS y"
    " WHERE y.verdict_id = w.id AND <waiver_stands>))",
    "x_waived": "EXISTS (SELECT 1 <x_failed>) AND NOT EXISTS"
    " (SELECT 1 <x_failed> AND NOT EXISTS (SELECT 1 FROM waivers AS y"
    " WHERE y.verdict_id = x.id AND <waiver_stands>))",
    "waiver_stands": "y.check_name = <check_name> AND y.revoked_at IS NULL AND y.expires_at > <now_us>",
    "of_version": "FROM versions AS v WHERE v.id = NEW.version_id",
    "person_of_new": "COALESCE((SELECT i.person_id FROM stand_ins AS i"
    " WHERE i.principal_id = NEW.principal_id), NEW.principal_id)",
    "person_of_uploader": "COALESCE((SELECT i.person_id FROM stand_ins AS i"
    " WHERE i.principal_id = v.created_by), v.created_by)",
    "person_of_opener": "COALESCE((SELECT i.person_id FROM stand_ins AS i"
    " WHERE i.principal_id = r.opener_id), r.opener_id)",
    "person_of_approver": "COALESCE((SELECT i.person_id FROM stand_ins AS i"
    " WHERE i.principal_id = a.principal_id), a.principal_id)",
    "person_of_actor": "COALESCE((SELECT i.person_id FROM stand_ins AS i"
    " WHERE i.principal_id = p.actor_id), p.actor_id)",
}
_PLACE = re.compile(r"<([a-z_]+)>")


@dataclass(frozen=True, slots=True)
class TriggerRule:
    """When a row is refused, and with which message.

    Attributes:
        words: The message of the refusal.
        condition: SQL over NEW, and OLD at an update, that is true for a row to be refused.
    """

    words: str
    condition: str


def refuse(table: str, event: str, rules: Sequence[TriggerRule], *, name: str) -> None:
    """Refuse rows of a table at INSERT or UPDATE, with the message of the first rule that holds."""
    trigger = f"{table}_{name}"
    places = PHRASES | DIALECTS[_dialect()]
    filled = [(rule.words, _fill(rule.condition, places)) for rule in rules]
    if _dialect() == "sqlite":
        body = " ".join(f"SELECT RAISE(ABORT, '{words}') WHERE {condition};" for words, condition in filled)
        _execute(f"CREATE TRIGGER {trigger} BEFORE {event} ON {table} BEGIN {body} END")
        return
    body = " ".join(
        f"IF {condition} THEN RAISE EXCEPTION '{words}' USING ERRCODE = '23514'; END IF;" for words, condition in filled
    )
    _function(f"{trigger}_rules", f"{body} RETURN NEW;")
    _execute(f"CREATE TRIGGER {trigger} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {trigger}_rules()")


def follow(table: str, event: str, statement: str, *, name: str) -> None:
    """Run a statement after each row that is inserted or updated."""
    trigger = f"{table}_{name}"
    if _dialect() == "sqlite":
        _execute(f"CREATE TRIGGER {trigger} AFTER {event} ON {table} BEGIN {statement}; END")
        return
    _function(f"{trigger}_follows", f"{statement}; RETURN NULL;")
    _execute(f"CREATE TRIGGER {trigger} AFTER {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {trigger}_follows()")


def append_only(table: str, *, changes: Sequence[str] = ("UPDATE", "DELETE")) -> None:
    """Refuse changes of rows, and on PostgreSQL TRUNCATE of the table."""
    refusal = f"{table} is append-only"
    if _dialect() == "sqlite":
        for event in changes:
            _execute(
                f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
            )
        return
    body = f"RAISE EXCEPTION '{refusal}' USING ERRCODE = '23001';"
    _function(f"{table}_is_append_only", body)
    for name, event, each in (("no_change", " OR ".join(changes), "ROW"), ("no_truncate", "TRUNCATE", "STATEMENT")):
        _execute(
            f"CREATE TRIGGER {table}_{name} BEFORE {event} ON {table}"
            f" FOR EACH {each} EXECUTE FUNCTION {table}_is_append_only()"
        )


def drop_append_only(table: str) -> None:
    """Drop an append-only table with its triggers."""
    op.drop_table(table)
    drop_functions(f"{table}_is_append_only")


def drop_triggers(table: str, *names: str) -> None:
    """Drop triggers from a table that stays; on PostgreSQL their functions stay, too."""
    for name in names:
        is_there = " IF EXISTS" if _dialect() == "sqlite" else ""
        on = "" if _dialect() == "sqlite" else f" ON {table}"
        _execute(f"DROP TRIGGER{is_there} {table}_{name}{on}")


def drop_functions(*names: str) -> None:
    """Drop the functions of triggers on PostgreSQL; SQLite has no functions."""
    if _dialect() == "postgresql":
        for name in names:
            _execute(f"DROP FUNCTION {name}()")


def _fill(condition: str, places: dict[str, str]) -> str:
    while (match := _PLACE.search(condition)) is not None:
        condition = condition.replace(match[0], places[match[1]])
    return " ".join(condition.split())


def _function(name: str, body: str) -> None:
    _execute(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$")


def _execute(sql: str) -> None:
    # As it is: a colon or a percent sign in it is no parameter.
    op.get_bind().exec_driver_sql(sql.replace("%", "%%") if _dialect() == "postgresql" else sql)


def _dialect() -> str:
    return op.get_bind().dialect.name
