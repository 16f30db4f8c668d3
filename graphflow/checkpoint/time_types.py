"""Dates and times: written so that the object comes back, not just the instant.

A datetime with a fixed unnamed offset (or none) and `fold=0` is its ISO text. Everything else keeps
its parts: the wall clock, `fold`, and the tzinfo as a value of its own, so that `Europe/Rome` stays
a zone with rules and does not become `+02:00`.

A zone is looked up by name in the time zone database. The name comes from bytes; it therefore has
to look like a zone name *and* exist as a file of the database before anything is opened.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

from graphflow.checkpoint.codec_errors import CorruptData, NotStorable
from graphflow.checkpoint.registry import Pack, Write

DATETIME, DATE, TIME, TIMEDELTA, TIMEZONE, ZONE = range(12, 18)


def is_told_by_iso(value: Any) -> bool:
    """Tell whether the ISO text is all there is to a datetime or time."""
    zone = value.tzinfo
    if value.fold:
        return False
    if zone is None or zone is timezone.utc:  # noqa: UP017 - the object, by its own name
        return True
    if type(zone) is not timezone or len(zone.__getinitargs__()) > 1:  # type: ignore[attr-defined]
        return False
    offset = abs(zone.utcoffset(None))
    return not offset or offset >= timedelta(seconds=1)  # Python reads +00:00:00.5 as UTC


def write_moment(value: Any, pack: Pack) -> bytes:
    """Pack the ISO text, or wall clock, fold and zone."""
    if is_told_by_iso(value):
        return pack(value.isoformat())
    wall = value.replace(tzinfo=None, fold=0)
    return pack([wall.isoformat(), value.fold, value.tzinfo])


def make_moment(kind: Any) -> Callable[[Any], Any]:
    """Return what makes a datetime or time of either form."""

    def make(data: Any) -> Any:
        if type(data) is str:
            return kind.fromisoformat(data)
        wall, fold, zone = data
        return kind.fromisoformat(wall).replace(tzinfo=zone, fold=fold)

    return make


def write_date(value: date, pack: Pack) -> bytes:
    """Write the ISO text."""
    return value.isoformat().encode("ascii")


def make_date(payload: bytes) -> date:
    """Read the ISO text."""
    return date.fromisoformat(payload.decode("ascii"))


def write_timedelta(value: timedelta, pack: Pack) -> bytes:
    """Pack days, seconds, microseconds."""
    return pack([value.days, value.seconds, value.microseconds])


def make_timedelta(data: Any) -> timedelta:
    """Make a timedelta of three ints."""
    days, seconds, microseconds = data
    return timedelta(days, seconds, microseconds)


def write_timezone(value: timezone, pack: Pack) -> bytes:
    """Pack the offset and, if it has one, the name."""
    return pack([*value.__getinitargs__()])  # type: ignore[attr-defined]


def make_timezone(data: Any) -> timezone:
    """Make a timezone of its offset and, if it has one, its name."""
    if type(data) is not list:
        raise CorruptData("not an offset and a name")
    return timezone(*data)


def write_zone(value: zoneinfo.ZoneInfo, pack: Pack) -> bytes:
    """Write the key; the rules are the database's."""
    if value.key is None:
        raise NotStorable("the zone was read from a file and has no key")
    return value.key.encode()


_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9_+-]{1,32}){0,3}")


def make_zone(payload: bytes) -> zoneinfo.ZoneInfo:
    """Look the zone up, if the database has it."""
    key = payload.decode("ascii")
    if not _ZONE_NAME.fullmatch(key) or not _is_in_database(key):
        raise CorruptData(f"there is no time zone {key!r} here: is the package tzdata installed?")
    return zoneinfo.ZoneInfo(key)


@lru_cache(maxsize=1024)
def _is_in_database(key: str) -> bool:
    return any((root / key).is_file() for root in _database())


@lru_cache(maxsize=1)
def _database() -> list[Path]:
    """Return the folders of the system's database and of the package tzdata."""
    roots = [Path(root) for root in zoneinfo.TZPATH]
    try:
        import tzdata  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        return roots
    return [*roots, *(Path(place) / "zoneinfo" for place in tzdata.__path__)]


TIME_WRITERS: dict[type, tuple[int, Write]] = {
    datetime: (DATETIME, write_moment),
    date: (DATE, write_date),
    time: (TIME, write_moment),
    timedelta: (TIMEDELTA, write_timedelta),
    timezone: (TIMEZONE, write_timezone),
    zoneinfo.ZoneInfo: (ZONE, write_zone),
}

TIME_RAW: dict[int, Callable[[bytes], Any]] = {DATE: make_date, ZONE: make_zone}

TIME_MAKERS: dict[int, Callable[[Any], Any]] = {
    DATETIME: make_moment(datetime),
    TIME: make_moment(time),
    TIMEDELTA: make_timedelta,
    TIMEZONE: make_timezone,
}
