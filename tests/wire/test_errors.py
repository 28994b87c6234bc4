"""The error tree: PEP 249's shape, facts, pickles."""

from __future__ import annotations

import copy
import inspect
import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest

from quicsql_client import errors
from quicsql_client.wire.codes import sqlite_error

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.Error) and kind.__module__ == errors.__name__
]
FACTS = {
    "code": 19,
    "extended_code": 2067,
    "name": "SQLITE_CONSTRAINT_UNIQUE",
    "http_status": 200,
    "failed_index": 0,
    "sql": "INSERT",
    "request": "POST /app/query",
    "retry_after_s": 1.5,
    "limit_bytes": 9,
    "reason": "expired",
    "may_have_run": False,
    "is_retryable": True,
}


def test_every_class_is_exported() -> None:
    exported = {name for name in errors.__all__ if issubclass(getattr(errors, name), errors.Error)}
    assert {kind.__name__ for kind in CLASSES} == exported


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_pickle_with_their_facts(kind: type[errors.Error], protocol: int) -> None:
    error = kind("it failed", **FACTS)
    error.add_note("a note")
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is kind
    assert str(again) == again.message == "it failed"
    assert again.args == error.args
    assert vars(again) == vars(error)
    assert again.__notes__ == ["a note"]


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_copy(kind: type[errors.Error]) -> None:
    again = copy.copy(kind("it failed", failed_index=4))
    assert (type(again), str(again), again.failed_index) == (kind, "it failed", 4)


class _WithOtherParameters(errors.ConfigurationError):
    problems: list[str]

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems), problems=problems)


def test_a_subclass_with_other_parameters_pickles() -> None:
    again = pickle.loads(pickle.dumps(_WithOtherParameters(["a", "b"])))
    assert type(again) is _WithOtherParameters
    assert (str(again), again.problems) == ("a; b", ["a", "b"])


def _fail() -> None:
    raise sqlite_error("UNIQUE constraint failed: t.a", 19, 2067)


def test_an_error_crosses_a_process_border() -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(errors.IntegrityError) as caught:
        pool.submit(_fail).result()
    assert caught.value.sqlite_errorname == "SQLITE_CONSTRAINT_UNIQUE"


@pytest.mark.parametrize("kind", CLASSES)
def test_facts_that_nobody_set_are_none(kind: type[errors.Error]) -> None:
    error = kind("m")
    unset = (error.code, error.extended_code, error.name, error.http_status)
    assert {*unset, error.failed_index, error.sql, error.sqlite_errorcode} == {None}
    assert error.sqlite_errorname is None


PEP_249 = {
    "InterfaceError": "Error",
    "DatabaseError": "Error",
    "DataError": "DatabaseError",
    "OperationalError": "DatabaseError",
    "IntegrityError": "DatabaseError",
    "InternalError": "DatabaseError",
    "ProgrammingError": "DatabaseError",
    "NotSupportedError": "DatabaseError",
}


@pytest.mark.parametrize(("name", "base"), PEP_249.items())
def test_the_tree_is_that_of_pep_249(name: str, base: str) -> None:
    assert getattr(errors, name).__bases__ == (getattr(errors, base),)
    assert issubclass(errors.Warning, Warning)
    assert not issubclass(errors.Warning, errors.Error)


def test_the_docstring_draws_every_class() -> None:
    for kind in CLASSES:
        assert kind.__name__ in (errors.__doc__ or "")


RETRYABLE = {"ConnectError", "ConnectTimeout", "PoolTimeout", "RateLimitedError", "OverloadedError"}


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_is_retryable_only_when_nothing_ran(kind: type[errors.Error]) -> None:
    error = kind("m")
    assert error.is_retryable is (kind.__name__ in RETRYABLE)
    if isinstance(error, errors.TransportError):
        assert error.may_have_run is not error.is_retryable


DISCONNECTED = {"StreamExpiredError", "OutcomeUnknownError"}


@pytest.mark.parametrize("kind", CLASSES)
def test_is_disconnect(kind: type[errors.Error]) -> None:
    is_transport = issubclass(kind, errors.TransportError)
    kept = kind in (errors.PoolTimeout, errors.ResponseTooLarge)
    expected = (is_transport and not kept) or kind.__name__ in DISCONNECTED
    assert kind("m").is_disconnect is expected
