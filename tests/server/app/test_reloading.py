"""A reload in words: what is taken over, what waits for a restart."""

from __future__ import annotations

import msgspec
import pytest

from quicsql_client.server.config import (
    AuthConfig,
    Config,
    ControlPlaneConfig,
    CORSConfig,
    EnrollConfig,
    LimitsConfig,
    ListenerConfig,
    LoggingConfig,
    PoolConfig,
    RateConfig,
    ServerConfig,
    SessionConfig,
    TLSProfile,
)
from quicsql_client.server.reloading import compare, opens_up
from tests.fix_principals import by_token, grants, memory

OLD = Config(
    auth=AuthConfig(principals=(by_token("ann", "first"), by_token("ben", "other"))),
    databases=(memory("app", *grants(ann="read-write", ben="read-only")), memory("mem")),
    listeners=(ListenerConfig(name="l", transport="h1", address="127.0.0.1:0"),),
)


def changed(**sections: object) -> Config:
    return msgspec.structs.replace(OLD, **sections)


def applied(new: Config) -> list[str]:
    return sorted(compare(OLD, new, started_with=OLD).applied)


def needs_restart(new: Config) -> list[str]:
    return sorted(compare(OLD, new, started_with=OLD).needs_restart)


def test_nothing_changed() -> None:
    assert applied(changed()) == []
    assert needs_restart(changed()) == []


def test_principals_are_named_and_their_secrets_are_not() -> None:
    new = changed(auth=AuthConfig(principals=(by_token("ann", "second"), by_token("cid", "new"))))
    lines = applied(new)
    assert lines == ["principal ann changed", "principal ben removed", "principal cid added"]
    assert needs_restart(new) == []


def test_grants_say_what_they_were_and_are() -> None:
    databases = (memory("app", *grants(ann="read-only", everyone="admin")), memory("mem"))
    assert applied(changed(databases=databases)) == [
        "grant on app to *: none -> admin",
        "grant on app to ann: read-write -> read-only",
        "grant on app to ben: read-only -> none",
    ]
    assert needs_restart(changed(databases=databases)) == []


def test_limits_of_requests_are_taken_over_and_those_of_streams_are_not() -> None:
    limits = LimitsConfig(
        max_rows=5,
        max_blob_bytes=7,
        statement_timeout_s=1.5,
        rate=RateConfig(per_principal_rps=2.0),
        max_sessions_per_db=3,
        max_export_bytes=7,
        max_restore_bytes=-1,
    )
    assert applied(changed(limits=limits)) == [
        "limits.max_blob_bytes: 1073741824 -> 7",
        "limits.max_export_bytes: 1073741824 -> 7",
        "limits.max_restore_bytes: 4294967296 -> -1",
        "limits.max_rows: 100000 -> 5",
        "limits.rate: {'per_principal_rps': 0.0} -> {'per_principal_rps': 2.0}",
        "limits.statement_timeout: 30.0 -> 1.5",
    ]
    assert needs_restart(changed(limits=limits)) == ["limits.max_sessions_per_db: 64 -> 3"]


def test_the_slow_log_is_taken_over() -> None:
    new = changed(logging=LoggingConfig(slow_threshold_s=0.25, expand_params=True))
    assert applied(new) == [
        "logging.expand_params: False -> True",
        "logging.slow_threshold: 0.0 -> 0.25",
    ]
    assert needs_restart(new) == []


def test_cors_is_taken_over() -> None:
    new = changed(cors=CORSConfig(enabled=True, origins=("https://a.example",)))
    assert applied(new) == ["cors changed"]
    assert needs_restart(new) == []


def test_server_admins_are_taken_over() -> None:
    new = changed(control_plane=ControlPlaneConfig(admins=("ann",)))
    assert applied(new) == ["server-admin ann added"]
    assert needs_restart(new) == []
    assert compare(new, OLD, started_with=OLD).applied == ("server-admin ann removed",)


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"listeners": ()}, "listeners"),
        ({"tls": {"p": TLSProfile(mode="self_signed")}}, "tls"),
        (
            {"control_plane": ControlPlaneConfig(enabled=True)},
            "control_plane.enabled",
        ),
        ({"server": ServerConfig(data_dir="elsewhere")}, "server"),
        ({"logging": LoggingConfig(format="json")}, "logging.format"),
        ({"databases": OLD.databases[:1]}, "database mem removed"),
        (
            {"databases": (OLD.databases[0], memory("mem", pool=PoolConfig(tx_lock="immediate")))},
            "database mem changed",
        ),
        (
            {"auth": msgspec.structs.replace(OLD.auth, session=SessionConfig(enabled=True))},
            "auth (all but principals, authorized_keys and enroll)",
        ),
    ],
)
def test_what_needs_a_restart_is_named(sections: dict[str, object], named: str) -> None:
    assert needs_restart(changed(**sections)) == [named]


def test_what_needs_a_restart_is_named_until_it_happens() -> None:
    moved = changed(listeners=())
    assert compare(moved, moved, started_with=OLD).needs_restart == ("listeners",)
    assert compare(moved, OLD, started_with=OLD).needs_restart == ()


def test_a_file_that_lets_everyone_in_is_noticed() -> None:
    assert opens_up(OLD, Config())
    assert not opens_up(OLD, changed(auth=AuthConfig()))  # grants are left: nobody reaches them
    assert not opens_up(Config(), Config())
    assert not opens_up(Config(), OLD)


def test_enrolment_is_taken_over_without_its_secrets_being_said() -> None:
    running = changed(control_plane=ControlPlaneConfig(enabled=True, admins=("ann",)))
    enroll = EnrollConfig(enabled=True, tokens=("ab" * 32,), idle_ttl_s=60.0)
    new = msgspec.structs.replace(running, auth=msgspec.structs.replace(OLD.auth, enroll=enroll))
    changes = compare(running, new, started_with=running)
    assert changes.applied == (
        "auth.enroll.enabled changed",
        "auth.enroll.tokens changed",
        "auth.enroll.idle_ttl changed",
    )
    assert changes.needs_restart == ()
    without = compare(OLD, new, started_with=OLD)  # nothing keeps what would be enrolled
    assert without.applied == ("server-admin ann added",)
    assert without.needs_restart == ("control_plane.enabled",)


def test_databases_are_added_without_a_restart() -> None:
    new = changed(databases=(*OLD.databases, memory("new", *grants(ann="read-only"))))
    assert applied(new) == ["database new added", "grant on new to ann: none -> read-only"]
    assert needs_restart(new) == []
