"""Freeze windows: when they stand, and when they end, by the clock on the wall of their zone."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.documents.strict_fields import DocumentPlace
from deltareg.gate.freeze_window import parse_window, standing_window

WEEKEND = {"from": "Fri 16:00", "to": "Mon 08:00", "zone": "Europe/Berlin", "reason": "weekend"}


def window(fields):
    return parse_window(fields, DocumentPlace())


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-11-27T14:59:59", None),  # Friday 15:59 in Berlin
        ("2026-11-27T15:00:00", "2026-11-30T07:00:00"),
        ("2026-11-29T22:59:00", "2026-11-30T07:00:00"),  # Sunday, nearly midnight
        ("2026-11-30T06:59:59", "2026-11-30T07:00:00"),
        ("2026-11-30T07:00:00", None),
        ("2026-07-10T13:59:59", None),  # summer: two hours before UTC
        ("2026-07-10T14:00:00", "2026-07-13T06:00:00"),
        ("2026-10-24T12:00:00", "2026-10-26T07:00:00"),  # the clocks go back that night
        ("2027-03-27T12:00:00", "2027-03-29T06:00:00"),  # and forward that one
    ],
)
def test_a_weekly_window_goes_by_the_clock_of_its_zone(now, end):
    assert window(WEEKEND).end_at(utc(now)) == (end and utc(end))


def test_a_window_that_ends_earlier_in_the_week_goes_over_sunday():
    over = window({"from": "Sun 22:00", "to": "Sun 20:00", "zone": "UTC"})

    assert over.end_at(utc("2026-11-29T21:00:00")) is None
    assert over.end_at(utc("2026-11-29T22:00:00")) == utc("2026-12-06T20:00:00")
    assert over.end_at(utc("2026-12-06T19:59:00")) == utc("2026-12-06T20:00:00")


def test_a_span_stands_from_its_first_moment_until_before_its_last():
    span = window({"from": "2026-12-20T00:00:00Z", "to": "2027-01-04T00:00:00+01:00"})

    assert span.end_at(utc("2026-12-19T23:59:59")) is None
    assert span.end_at(utc("2026-12-20T00:00:00")) == utc("2027-01-03T23:00:00")
    assert span.end_at(utc("2027-01-03T23:00:00")) is None


# Berlin, 25 October 2026: at 03:00 summer time (01:00Z) the clocks show 02:00 once more.
# Berlin, 29 March 2026: at 02:00 (01:00Z) they show 03:00; nobody sees 02:30.
@pytest.mark.parametrize(
    ("starts", "ends", "stands", "day"),
    [
        ("Sun 02:00", "Sun 02:30", ("00:00", "00:30"), "2026-10-25"),  # not once more at 01:00Z
        ("Sun 02:30", "Sun 03:30", ("00:30", "02:30"), "2026-10-25"),  # and not open in between
        ("Sun 01:00", "Sun 02:15", ("23:00", "00:15"), "2026-10-25"),
        ("Sun 02:30", "Sun 03:30", ("01:00", "01:30"), "2026-03-29"),
        ("Sun 01:30", "Sun 02:30", ("00:30", "01:00"), "2026-03-29"),
        ("Sun 02:10", "Sun 02:50", None, "2026-03-29"),  # it lies in what is left out
    ],
)
def test_a_window_is_one_stretch_of_time_in_a_night_when_the_clocks_change(starts, ends, stands, day):
    weekly = window({"from": starts, "to": ends, "zone": "Europe/Berlin"})
    noon_before = utc(f"{day}T12:00:00") - timedelta(days=1)
    minutes = [noon_before + timedelta(minutes=count) for count in range(24 * 60)]

    found = [minute for minute in minutes if weekly.end_at(minute) is not None]

    if stands is None:
        assert found == []
        return
    begin, end = found[0], found[-1] + timedelta(minutes=1)
    assert (f"{begin:%H:%M}", f"{end:%H:%M}") == stands
    assert len(found) == (end - begin) / timedelta(minutes=1), "it is open in between"
    assert {weekly.end_at(minute) for minute in found} == {end}


def test_a_span_without_offsets_goes_by_the_clock_of_its_zone():
    span = window({"from": "2026-12-20", "to": "2027-01-04T08:00", "zone": "Europe/Berlin"})

    assert (span.starts, span.ends) == (utc("2026-12-19T23:00:00"), utc("2027-01-04T07:00:00"))


def test_of_several_windows_the_last_to_end_is_told():
    span = window({"from": "2026-11-27", "to": "2026-12-04", "zone": "UTC", "reason": "fair"})

    standing = standing_window([span, window(WEEKEND)], utc("2026-11-28T00:00:00"))

    assert str(standing) == "a freeze window until 2026-12-04T00:00:00Z: fair"
    assert standing_window([span], utc("2026-12-05T00:00:00")) is None


@given(st.integers(0, 500_000_000), st.integers(1, 10_079))
def test_a_standing_window_ends_within_its_length_and_stands_until_then(seconds, length):
    at = utc("2020-01-01T00:00:00") + timedelta(seconds=seconds)
    end = (at + timedelta(minutes=length)).replace(second=0)
    weekly = window({"from": f"{at:%a %H:%M}", "to": f"{end:%a %H:%M}", "zone": "UTC"})

    assert weekly.end_at(at) == end
    assert weekly.end_at(end) is None
