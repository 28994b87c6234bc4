"""Who may do what: levels, the wildcard, open mode, and who loses by a new policy."""

from __future__ import annotations

import pytest

from quicsql_client.server.config import AuthConfig, Config, GrantConfig, PrincipalConfig
from quicsql_client.server.grants import RuntimeGrants
from quicsql_client.server.policy import Level, Policy, principals_that_lost
from tests.fix_principals import grants, memory


def policy(*names: str, **databases: tuple[GrantConfig, ...]) -> Policy:
    """Principals of these names, and grants by database."""
    principals = tuple(PrincipalConfig(name=name) for name in names)
    return Policy(
        Config(
            auth=AuthConfig(principals=principals),
            databases=tuple(memory(name, *granted) for name, granted in databases.items()),
        )
    )


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("none", Level.NONE),
        ("read-only", Level.READ_ONLY),
        ("read-write", Level.READ_WRITE),
        ("admin", Level.ADMIN),
    ],
)
def test_levels_have_the_names_of_the_configuration(name: str, level: Level) -> None:
    assert Level.named(name) is level
    assert level.word == name


def test_levels_are_ordered() -> None:
    assert Level.NONE < Level.READ_ONLY < Level.READ_WRITE < Level.ADMIN


@pytest.mark.parametrize(
    ("database", "principal", "level"),
    [
        ("own", "ann", Level.READ_WRITE),
        ("own", "ben", Level.READ_ONLY),
        ("own", "cid", Level.NONE),
        ("own", "", Level.NONE),
        ("own", "stranger", Level.NONE),
        ("both", "ann", Level.READ_ONLY),  # the wildcard is more than the grant
        ("both", "ben", Level.ADMIN),  # the grant is more than the wildcard
        ("both", "cid", Level.READ_ONLY),
        ("both", "", Level.READ_ONLY),
        ("both", "*", Level.READ_ONLY),
        ("ungranted", "ann", Level.NONE),
        ("unknown", "ann", Level.NONE),
    ],
)
def test_the_greater_of_grant_and_wildcard_counts(
    database: str, principal: str, level: Level
) -> None:
    granted = policy(
        *("ann", "ben", "cid"),
        own=grants(ann="read-write", ben="read-only"),
        both=grants(everyone="read-only", ann="none", ben="admin"),
        ungranted=(),
    )
    assert granted.level(database, principal) is level


def test_of_two_grants_to_one_principal_the_greater_counts() -> None:
    twice = (*grants(ann="admin"), *grants(ann="read-only"))
    assert policy("ann", app=twice).level("app", "ann") is Level.ADMIN


def test_open_mode_lets_everyone_write_and_nobody_administer() -> None:
    granted = policy(app=())
    for database in ("app", "unknown"):
        assert granted.level(database, "") is Level.READ_WRITE


def test_one_principal_or_one_grant_ends_open_mode() -> None:
    assert policy("ann", app=()).level("app", "") is Level.NONE
    assert policy(app=grants(everyone="read-only")).level("app", "") is Level.READ_ONLY
    assert policy(app=(), other=grants(everyone="none")).level("app", "") is Level.NONE


def test_overruled_grants_of_the_configuration_count_for_nothing() -> None:
    made = RuntimeGrants()
    granted = Policy(
        Config(
            auth=AuthConfig(principals=(PrincipalConfig(name="ann"),)),
            databases=(memory("app", *grants(ann="admin")), memory("other", *grants(ann="admin"))),
        ),
        made,
    )
    assert granted.level("app", "ann") is Level.ADMIN
    made.overrule("app")
    assert granted.level("app", "ann") is Level.NONE
    assert granted.level("other", "ann") is Level.ADMIN
    made.replace_database("app", {"ann": Level.READ_ONLY})
    assert granted.level("app", "ann") is Level.READ_ONLY


OLD = policy(
    "ann", "ben", app=grants(ann="read-write", ben="read-only"), all=grants(everyone="read-only")
)


@pytest.mark.parametrize(
    ("new", "lost"),
    [
        (OLD, set()),
        (
            policy(
                "ann",
                "ben",
                "new",
                app=grants(ann="admin", ben="read-only", new="admin"),
                all=grants(everyone="read-write"),
            ),
            set(),
        ),
        (policy("ben", app=grants(ben="read-only"), all=grants(everyone="read-only")), {"ann"}),
        (
            policy(
                "ann",
                "ben",
                app=grants(ann="read-only", ben="read-only"),
                all=grants(everyone="read-only"),
            ),
            {"ann"},
        ),
        (
            policy("ann", "ben", app=grants(ann="read-write"), all=grants(everyone="read-only")),
            {"ben"},
        ),
        (
            policy("ann", "ben", app=grants(ann="read-write", ben="read-only"), all=()),
            {"ann", "ben", ""},
        ),
        (policy("ann", "ben", app=grants(ann="read-write", ben="read-only")), {"ann", "ben", ""}),
        (
            policy(
                "ann",
                app=grants(ann="read-write", everyone="admin"),
                all=grants(everyone="read-only"),
            ),
            {"ben"},
        ),
    ],
)
def test_who_is_gone_or_lost_a_grant(new: Policy, lost: set[str]) -> None:
    assert principals_that_lost(OLD, new) == lost


def test_everyone_loses_when_open_mode_ends() -> None:
    assert principals_that_lost(policy(app=()), policy("ann", app=grants(ann="admin"))) == {""}


def test_grants_of_the_run_time_count_at_once_and_beside_those_of_the_file() -> None:
    made = RuntimeGrants()
    config = Config(
        auth=AuthConfig(principals=(PrincipalConfig(name="ann"),)),
        databases=(memory("own", *grants(ann="read-only")),),
    )
    granted = Policy(config, made)
    made.set("own", "ann", Level.ADMIN)
    made.set("later", "*", Level.READ_ONLY)
    assert granted.level("own", "ann") is Level.ADMIN
    assert granted.level("later", "anybody") is Level.READ_ONLY
    made.revoke_principal("ann")
    made.replace_database("later", {})
    assert granted.level("own", "ann") is Level.READ_ONLY
    assert granted.level("later", "anybody") is Level.NONE


def test_a_grant_of_the_run_time_ends_open_mode() -> None:
    made = RuntimeGrants()
    granted = Policy(Config(databases=(memory("own"),)), made)
    assert granted.level("own", "") is Level.READ_WRITE
    made.set("other", "ann", Level.READ_ONLY)
    assert granted.level("own", "") is Level.NONE
