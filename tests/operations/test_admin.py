"""The control plane's calls: what is asked, what its answers become, and what is no answer."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from quicsql_client import errors
from quicsql_client.admin import (
    Checkpoint,
    DatabaseInfo,
    EnrollCode,
    EnrolledPrincipal,
    ServerInfo,
    SessionInfo,
    Snapshot,
)
from quicsql_client.operations import Operation, admin
from quicsql_client.wire.messages import Response

from .script import Script, play, refuse, reply

Call = Callable[[], Operation[Any]]
AT = datetime.datetime(2026, 7, 4, 18, tzinfo=datetime.UTC)
UNIX_S = int(AT.timestamp())
DATABASE = {"kind": "file", "name": "a", "open": True, "refs": 2}
INFO = {
    **{"active_sessions": 1, "databases": 2, "goroutines": 3, "heap_bytes": 4},
    **{"open_databases": 5, "uptime_seconds": 6},
}
SESSION = {
    **{"age_seconds": 9, "database": "a", "id": "x", "idle_seconds": 8, "in_flight": False},
    **{"principal": "p", "read_only": True},
}
FOUND = SessionInfo("x", "a", "p", age_s=9, idle_s=8, is_in_flight=False, is_read_only=True)
ENROLLED = {"name": "u_x", "key": "ssh-ed25519 A", "created_at": UNIX_S, "last_seen": UNIX_S}
MOVED = {"checkpointed_frames": 3, "database": "a", "mode": "full", "wal_frames": 4}
COPIED = {"bytes": 4096, "database": "a", "dest": "/data/b.db", "status": "snapshot"}

READS: list[tuple[Call, str, dict[str, Any], Any]] = [
    (admin.databases, "databases", {"databases": [DATABASE]}, [DatabaseInfo("a", "file", True, 2)]),
    (admin.stats, "stats", {"databases": []}, []),
    (
        *(admin.info, "info", INFO),
        ServerInfo(
            **{"uptime_s": 6, "databases": 2, "open_databases": 5, "active_sessions": 1},
            **{"goroutines": 3, "heap_bytes": 4},
        ),
    ),
    (admin.sessions, "sessions", {"sessions": [SESSION]}, [FOUND]),
    (
        *(admin.principals, "principals", {"principals": [ENROLLED]}),
        [EnrolledPrincipal("u_x", "ssh-ed25519 A", AT, AT)],
    ),
]
DETACHED = {"database": "a", "status": "detached"}
SPEC = {"name": "a", "backend": "file", "path": "a.db"}
WRITES: list[tuple[Call, str, dict[str, Any], dict[str, Any], Any]] = [
    (lambda: admin.kill("x"), "kill", {"session": "x"}, {"session": "x", "status": "killed"}, None),
    (lambda: admin.kill(FOUND), "kill", {"session": "x"}, {}, None),
    (
        *(lambda: admin.create(SPEC, {"app": "read-only", "*": "none"}), "create"),
        {
            "database": SPEC,
            "grants": [
                {"principal": "app", "level": "read-only"},
                {"principal": "*", "level": "none"},
            ],
        },
        *({"database": "a", "status": "created"}, None),
    ),
    (lambda: admin.detach("a"), "detach", {"database": "a"}, DETACHED, None),
    (
        *(lambda: admin.checkpoint("a", "full"), "maintenance"),
        {"database": "a", "op": "checkpoint", "mode": "full"},
        *(MOVED, Checkpoint("full", 4, 3)),
    ),
    (
        *(lambda: admin.snapshot("a", "b.db"), "maintenance"),
        {"database": "a", "op": "snapshot", "dest": "b.db"},
        *(COPIED, Snapshot("/data/b.db", 4096)),
    ),
    (
        *(lambda: admin.delete_principal("u_x"), "principals/delete"),
        *({"name": "u_x"}, {"deleted": "u_x"}, None),
    ),
]


@pytest.mark.parametrize(("call", "endpoint", "told", "value"), READS)
def test_what_is_read(call: Call, endpoint: str, told: Any, value: Any) -> None:
    script = Script(reply(told | {"more": 1}))
    assert script.play(call()) == value
    (request,) = script.requests
    assert (str(request), request.body) == (f"GET /_admin/{endpoint}", b"")


@pytest.mark.parametrize(("call", "endpoint", "said", "told", "value"), WRITES)
def test_what_is_done(call: Call, endpoint: str, said: Any, told: Any, value: Any) -> None:
    script = Script(reply(told))
    assert script.play(call()) == value
    assert str(script.requests[0]) == f"POST /_admin/{endpoint}"
    assert script.bodies() == [said]


def test_a_code_is_not_shown() -> None:
    script = Script(reply({"code": "ec_secret", "expires_at": UNIX_S}))
    code = script.play(admin.mint_enroll_code())
    assert code == EnrollCode("ec_secret", AT)
    assert "secret" not in repr(code)
    assert str(script.requests[0]) == "POST /_admin/enroll/codes"


def test_a_restore_sends_the_bytes() -> None:
    script = Script(reply({"bytes": 5, "database": "a b", "status": "restored"}))
    assert script.play(admin.restore("a b", b"image")) == 5
    (request,) = script.requests
    assert (request.target, request.body) == ("/_admin/restore?database=a%20b", b"image")


DECODING: list[Call] = [
    *(read[0] for read in READS),
    *(lambda: admin.checkpoint("a", "full"), lambda: admin.snapshot("a", "b")),
    *(lambda: admin.restore("a", b""), admin.mint_enroll_code),
]


@pytest.mark.parametrize("call", DECODING)
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000),
        *(b'{"databases":{}}', b'{"databases":[{"name":5}]}', b'{"sessions":[null]}'),
        *(
            b'{"principals":[{"name":"a","key":"k","created_at":-1,"last_seen":1e99}]}',
            b'{"bytes":""}',
        ),
        *(b'{"code":"ec_x","expires_at":999999999999999}', b'{"code":"ec_x","expires_at":"now"}'),
    ],
)
def test_what_is_no_answer(call: Call, body: bytes) -> None:
    with pytest.raises(errors.RemoteProtocolError, match="known shape") as caught:
        play(call(), Response(200, (), body))
    assert "ec_x" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: admin.kill(""),
        lambda: admin.kill(5),  # type: ignore[arg-type]
        lambda: admin.create("a", {}),  # type: ignore[arg-type]
        lambda: admin.create(SPEC, {"app": "ro"}),  # type: ignore[dict-item]
        lambda: admin.create({"name": object()}, {}),
        lambda: admin.detach(""),
        lambda: admin.checkpoint("a", "all"),  # type: ignore[arg-type]
        lambda: admin.snapshot("a", ""),
        lambda: admin.restore("", b""),
        lambda: admin.delete_principal("\ud800"),
    ],
)
def test_what_cannot_be_asked(wrong: Call) -> None:
    with pytest.raises(errors.ProgrammingError):
        play(wrong())


def test_a_refusal_has_its_status() -> None:
    with pytest.raises(errors.OperationalError, match="retry when idle") as caught:
        play(admin.detach("a"), refuse(409, "database busy (has active users); retry when idle"))
    assert caught.value.http_status == 409
    with pytest.raises(errors.AuthorizationError):
        play(admin.info(), refuse(403, "server-admin capability required"))
