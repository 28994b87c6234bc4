"""`/_admin/info`, `sessions`, `kill`: the server as it runs, its streams, and the end of one.

Source: protocol/operations.md, Admin.
"""

from __future__ import annotations

import asyncio
import base64
import os
import resource
import sys
import threading
import time
from typing import Any, Final

from ....wire.messages import Response
from ...engine import Access
from ...sessions import Session, Sessions
from ..exchange import Refusal
from .errand import Errand, answer_with

__all__ = ["info", "kill", "list_sessions"]

_KILL: Final = {"session": str}
_IN_FLIGHT: Final = "session has a request in flight; it will end at the statement timeout"
_PAGES: Final = "/proc/self/statm"


async def info(errand: Errand) -> Response:
    """The server in numbers.

    goroutines: its threads and tasks; heap_bytes: its memory, as the system counts it.
    """
    services = errand.exchange.services
    databases = services.registry.list()
    return answer_with(
        active_sessions=len(services.sessions.list()),
        databases=len(databases),
        goroutines=threading.active_count() + len(asyncio.all_tasks()),
        heap_bytes=_memory_bytes(),
        open_databases=sum(one.is_open for one in databases),
        uptime_seconds=int(time.monotonic() - errand.control.started_at),
    )


def _memory_bytes() -> int:
    try:
        with open(_PAGES, encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # no Linux: the greatest so far, in bytes on macOS and in KiB elsewhere
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


async def list_sessions(errand: Errand) -> Response:
    """The open streams on the databases that the caller administers, oldest first."""
    sessions = errand.exchange.services.sessions
    return answer_with(
        sessions=[
            _entry(sessions, one)
            for one in sessions.list()
            if errand.administers(one.database.name)
        ]
    )


def _entry(sessions: Sessions, session: Session) -> dict[str, Any]:
    age_s, idle_s = sessions.ages(session)
    return {
        "age_seconds": int(age_s),
        "database": session.database.name,
        "id": base64.urlsafe_b64encode(session.id).decode().rstrip("="),
        "idle_seconds": int(idle_s),
        "in_flight": session.is_busy,
        "principal": session.principal,
        "read_only": session.access is Access.READ_ONLY,
    }


async def kill(errand: Errand) -> Response:
    """End an idle stream: its transaction is rolled back. Raises: Refusal, 400, 404, 409."""
    named = errand.detail = (await errand.read_body(_KILL)).get("session", "")
    sessions = errand.exchange.services.sessions
    try:
        session = sessions.get(base64.b64decode(f"{named}==", altchars=b"-_", validate=True))
    except (KeyError, ValueError):
        raise Refusal(404, "no such session") from None
    errand.database = session.database.name
    if not await sessions.kill(session.id):
        raise Refusal(409, _IN_FLIGHT)
    return answer_with(session=named, status="killed")
