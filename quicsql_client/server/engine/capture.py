"""Capture of changes on one connection, as a SQLite changeset of its main schema.

It knows apsw's session extension, neither streams nor the wire.
Source: protocol/hrana.md, Request types (session_start, session_changeset).
"""

from __future__ import annotations

import apsw

from .access import MaskedFailure
from .link import Link


def start_capture(link: Link, tables: tuple[str, ...]) -> bool:
    """Begins to record the changes of tables, or of all if none is named; False if a capture is
    already open.
    """
    if link.capture is not None:
        return False
    try:
        link.begin_capture(tables)
    except apsw.Error as error:
        raise MaskedFailure("the capture did not begin") from error
    return True


def take_changeset(link: Link) -> bytes | None:
    """What was captured, and the end of the capture; None if none is open, empty if nothing
    changed.
    """
    if link.capture is None:
        return None
    try:
        return bytes(link.capture.changeset())
    except apsw.Error as error:
        raise MaskedFailure("the changeset could not be made") from error
    finally:
        link.end_capture()
