"""Streams between requests: a pinned connection for a (database, principal), resumed by a baton
that changes each time.

It knows batons and clocks, not the wire. A session is busy while a request has it, and idle in
between.
Source: protocol/hrana.md, Streams and batons.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from .batons import ID_BYTES, BatonSigner
from .engine import Access, AttachRule
from .registry import Database, PinnedConnection

DEFAULT_TX_IDLE_TIMEOUT_S = 30.0  # protocol/config.md, limits
DEFAULT_MAX_TX_LIFETIME_S = 300.0
DEFAULT_MAX_SESSIONS_PER_DB = 64
REAP_INTERVAL_S = 15.0  # protocol/hrana.md, Streams and batons

_log = logging.getLogger(__name__)


class SessionError(Exception):
    """A stream cannot be opened or resumed; the message is the text for the client."""


class TooManySessions(SessionError):
    """`max_sessions_per_db` streams are open on the database."""

    def __init__(self) -> None:
        super().__init__("too many open sessions")


class InvalidBaton(SessionError):
    """Malformed, forged, spent or expired; of another database; or of a stream that is busy."""

    def __init__(self) -> None:
        super().__init__("invalid or expired baton")


class ForeignBaton(SessionError):
    """A good baton of another principal; its owner can still use it."""

    def __init__(self) -> None:
        super().__init__("baton belongs to a different principal")


@dataclass(eq=False, slots=True)
class Session:
    """An open stream. texts: what `store_sql` stored, by its id; it lives as long as the stream.

    opened_at, idle_since: instants of the clock of the Sessions it belongs to.
    """

    connection: PinnedConnection
    database: Database
    principal: str
    access: Access
    opened_at: float
    idle_since: float
    id: bytes = field(default_factory=lambda: secrets.token_bytes(ID_BYTES), repr=False)
    generation: int = 1
    is_busy: bool = True
    is_doomed: bool = False
    texts: dict[int, str] = field(default_factory=dict, repr=False)


class Sessions:
    """All open streams. tx_idle_timeout_s, max_tx_lifetime_s: seconds, whichever ends first;
    neither while a request runs.

    clock: monotonic seconds. Its methods belong to one event loop.
    """

    def __init__(
        self,
        *,
        tx_idle_timeout_s: float = DEFAULT_TX_IDLE_TIMEOUT_S,
        max_tx_lifetime_s: float = DEFAULT_MAX_TX_LIFETIME_S,
        max_sessions_per_db: int = DEFAULT_MAX_SESSIONS_PER_DB,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tx_idle_timeout_s = tx_idle_timeout_s
        self.max_tx_lifetime_s = max_tx_lifetime_s
        self.max_sessions_per_db = max_sessions_per_db
        self._clock = clock
        self._signer = BatonSigner()
        self._open: dict[bytes, Session] = {}
        self._slots: Counter[str] = Counter()
        self._reaper: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def open(
        self,
        database: Database,
        principal: str,
        access: Access,
        *,
        attach_rule: AttachRule | None = None,
    ) -> Session:
        """A new stream with a connection of its own; waits while the database's pool is exhausted.
        attach_rule: what it may attach, None: nothing.

        Raises: TooManySessions; what `Database.pin` raises.
        """
        if not self._has_room(database):
            raise TooManySessions
        self._slots[database.name] += 1
        try:
            connection = await database.pin(access, attach_rule=attach_rule)
        except BaseException:
            self._slots[database.name] -= 1
            raise
        now = self._clock()
        session = Session(connection, database, principal, access, opened_at=now, idle_since=now)
        self._open[session.id] = session
        if self._is_closing():
            await self.end(session)
            raise TooManySessions
        self._start_reaper()
        return session

    async def resume(self, baton: str, database: str, principal: str) -> Session:
        """The stream of a baton, which is spent by it.

        Raises: InvalidBaton, ForeignBaton; the baton stays good for its owner then, unless it had
        expired.
        """
        named = self._signer.read(baton)
        session = self._open.get(named[0]) if named is not None else None
        if session is None or named is None or session.generation != named[1]:
            raise InvalidBaton
        if session.is_busy or session.is_doomed:
            raise InvalidBaton
        if self._is_expired(session):
            await self.end(session)
            raise InvalidBaton
        if session.database.name != database:
            raise InvalidBaton
        if session.principal != principal:
            raise ForeignBaton
        session.generation += 1
        session.is_busy = True
        return session

    def baton(self, session: Session) -> str:
        """The baton that `suspend` will give: for an answer whose head is sent before the request
        ends.
        """
        return self._signer.sign(session.id, session.generation)

    def suspend(self, session: Session) -> str:
        """Ends a request: the baton that resumes the stream."""
        session.is_busy = False
        session.idle_since = self._clock()
        if session.is_doomed:
            self._end_soon(session)
        return self.baton(session)

    async def end(self, session: Session) -> None:
        """Closes a stream: rolls back and gives its connection back. A stream that has ended stays
        so.
        """
        if self._open.pop(session.id, None) is None:
            await session.connection.release()
            return
        try:
            await session.connection.release()
        finally:
            self._slots[session.database.name] -= 1

    def get(self, session_id: bytes) -> Session:
        """The open stream of that id. Raises KeyError if there is none."""
        return self._open[session_id]

    def ages(self, session: Session) -> tuple[float, float]:
        """For how many seconds a stream has been open, and idle: 0 while a request has it."""
        now = self._clock()
        idle_s = 0.0 if session.is_busy else now - session.idle_since
        return now - session.opened_at, idle_s

    async def kill(self, session_id: bytes) -> bool:
        """Closes an idle stream; False while a request has it. Raises KeyError if there is none."""
        session = self._open[session_id]
        if session.is_busy:
            return False
        await self.end(session)
        return True

    async def end_of_principals(self, gone: Collection[str]) -> None:
        """Closes every stream of principals that are gone: what runs is interrupted, all is rolled
        back.
        """
        doomed = [one for one in self._open.values() if one.principal in gone]
        for session in doomed:  # all are marked before the first await: none is resumed meanwhile
            session.is_doomed = True
            if session.is_busy:
                session.connection.interrupt()
        for session in doomed:
            await self.end(session)

    async def reap(self) -> None:
        """Closes every idle stream whose time is up."""
        for session in tuple(self._open.values()):
            if not session.is_busy and self._is_expired(session):
                await self.end(session)

    def list(self) -> tuple[Session, ...]:
        """The open streams, oldest first."""
        return tuple(self._open.values())

    async def close(self) -> None:
        """Closes every stream and stops the reaper; nothing opens any more."""
        self._is_closed = True
        if self._reaper is not None:
            self._reaper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reaper
            self._reaper = None
        for session in tuple(self._open.values()):
            session.connection.interrupt()
            await self.end(session)
        await asyncio.gather(*self._ending)

    def _is_closing(self) -> bool:
        return self._is_closed

    def _has_room(self, database: Database) -> bool:
        return not self._is_closing() and self._slots[database.name] < self.max_sessions_per_db

    def _is_expired(self, session: Session) -> bool:
        now = self._clock()
        return (
            now - session.idle_since > self.tx_idle_timeout_s
            or now - session.opened_at > self.max_tx_lifetime_s
        )

    def _end_soon(self, session: Session) -> None:
        task = asyncio.get_running_loop().create_task(self.end(session))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _start_reaper(self) -> None:
        if self._reaper is None:
            self._reaper = asyncio.get_running_loop().create_task(self._reap_forever())

    async def _reap_forever(self) -> None:
        while True:
            await asyncio.sleep(REAP_INTERVAL_S)
            try:
                await self.reap()
            except Exception:  # the border of the task: one stream must not stop the reaper
                _log.exception("a stream could not be closed")
