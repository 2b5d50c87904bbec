"""The line that a subject of the audit trail is about: `team/lora` of `team/lora:v3` and `team/lora@prod`."""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

BELOW_LINES: Final = (":", "@")
"""What stands between a line and what is below it: a version, a channel."""


class subject_line(GenericFunction[str]):  # noqa: N801  (reads as the SQL function that it is)
    """A subject up to its first colon or at sign; an index has it, spelled like this."""

    type = sa.Text()
    inherit_cache = True
    name = "deltareg_subject_line"


@compiles(subject_line, "sqlite")
def _subject_line_sqlite(element: subject_line, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401
    column = compiler.process(element.clauses, **kw)
    return f"substr({column}, 1, min(instr({column} || ':', ':'), instr({column} || '@', '@')) - 1)"


@compiles(subject_line, "postgresql")
def _subject_line_postgresql(element: subject_line, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401
    return f"split_part(split_part({compiler.process(element.clauses, **kw)}, ':'::text, 1), '@'::text, 1)"
