"""What every form of events must do: written whole, the same each time, whatever people wrote."""

import json
import re
from collections.abc import Iterator
from typing import ClassVar

from deltareg.service.telling.event_form import EventForm
from deltareg.service.telling.types import PREFIX, TYPES
from deltareg.wire import Event

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+(; charset=utf-8)?")
_HOSTILE = (
    "",
    "<!channel> <@U1> <https://x|y>",
    "*bold* `code` ~gone~ [words](https://x)",
    '"}]} \\ {"',
    "a\r\nX-Header: b",
    "\0\x1b[31m",
    "\u202eback",
    "\U0001f600" * 50,
    "long " * 20_000,
)
_MOST_OVERHEAD = 8


class FormTests:
    """The tests; a subclass whose name begins with `Test` names its form."""

    form: ClassVar[EventForm]

    def test_it_is_called_and_sent_as_the_wire_allows(self) -> None:
        """Its name is one that a webhook can have, and its media type is one."""
        assert _NAME.fullmatch(self.form.name)
        assert _MEDIA_TYPE.fullmatch(self.form.media_type)
        assert self.form.about

    def test_every_type_of_event_is_written(self) -> None:
        """Each has a body."""
        assert all(self.form.write(event) for event in sample_events("better"))

    def test_the_same_event_gives_the_same_bytes(self) -> None:
        """They are signed, and sent again as they were."""
        first, again = ([self.form.write(event) for event in sample_events("x")] for _ in range(2))

        assert first == again

    def test_an_event_without_more_than_its_subject_is_written(self) -> None:
        """That of a test has no data but `ref` and `actor`, and a later one may have none."""
        event = next(sample_events("x"))

        assert self.form.write(event.model_copy(update={"data": {}}))
        assert self.form.write(event.model_copy(update={"type": f"{PREFIX}webhook.tested"}))

    def test_what_people_wrote_breaks_nothing(self) -> None:
        """It is UTF-8 whatever was said, JSON where it says so, and not many times as long."""
        for said in _HOSTILE:
            for event in sample_events(said):
                body = self.form.write(event)

                text = body.decode()
                assert len(body) < _MOST_OVERHEAD * len(event.model_dump_json()) + 4096
                if "json" in self.form.media_type:
                    assert isinstance(json.loads(text), dict)

    def test_the_event_stays_as_it_was(self) -> None:
        """Others are told of it as well."""
        event = next(sample_events("x"))
        before = event.model_dump_json()

        self.form.write(event)

        assert event.model_dump_json() == before


def sample_events(said: str) -> Iterator[Event]:
    """Give an event of every type, with text of people in each of its fields."""
    for number, kind in enumerate({each.name: each for each in TYPES}.values(), start=1):
        more: dict[str, object] = dict.fromkeys(kind.fields, said)
        ref = "lab/x@prod"
        yield Event(
            id=f"{number}-5f",
            source="urn:deltareg:sample",
            type=PREFIX + kind.name,
            subject=ref,
            time="2026-01-02T03:04:05Z",
            sequence=f"{number:018}",
            data={"ref": ref, "actor": "ada", "namespace": "lab", "delta": "lab/x", **more},
        )
