"""Scalars of numpy, and of what behaves like it, bind as the plain objects that they stand for."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from quicsql_client import DataError, ProgrammingError
from quicsql_client.wire.values import bind_value

numpy: Any = pytest.importorskip("numpy", reason="numpy is in the dev group of pyproject.toml")


@pytest.mark.parametrize(
    ("made", "bound"),
    [
        (lambda: numpy.int8(-5), -5),
        (lambda: numpy.int64(2**62 + 1), 2**62 + 1),
        (lambda: numpy.uint32(7), 7),
        (lambda: numpy.bool_(True), 1),
        (lambda: numpy.float16(1.5), 1.5),
        (lambda: numpy.float64(0.1), 0.1),
        (lambda: numpy.float32("nan"), None),
        (lambda: numpy.str_("text"), "text"),
        (lambda: numpy.bytes_(b"raw"), b"raw"),
        (lambda: numpy.array(5), 5),
        (lambda: numpy.array([1.5, 2.5])[1], 2.5),
        (lambda: numpy.datetime64("2024-01-02"), "2024-01-02"),
        (lambda: numpy.datetime64("2024-01-02T03:04:05.000006"), "2024-01-02 03:04:05.000006"),
        (lambda: numpy.datetime64("NaT"), None),
    ],
)
def test_scalars(made: Any, bound: object) -> None:
    value = bind_value(made())
    assert (value, type(value)) == (bound, type(bound))


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda: numpy.uint64(2**63), DataError),
        (lambda: numpy.float32("inf"), DataError),
        (lambda: numpy.datetime64("2024-01-02T03:04:05.000000006"), ProgrammingError),
        (lambda: numpy.timedelta64(5, "s"), ProgrammingError),
        (lambda: numpy.timedelta64(5, "ns"), ProgrammingError),
        (lambda: numpy.complex64(1), ProgrammingError),
        (lambda: numpy.longdouble(1), ProgrammingError),
        (lambda: numpy.array([1, 2]), ProgrammingError),
    ],
)
def test_what_has_no_storage_class(made: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="argument 3 is"):
        bind_value(made(), 3)


def test_an_index_is_an_integer() -> None:
    class Port:
        def __index__(self) -> int:
            return 7777

    assert bind_value(Port()) == 7777


def test_a_moment_that_is_none_binds_null() -> None:
    class NotATime(datetime.datetime):
        """As pandas' NaT."""

        def __eq__(self, other: object) -> bool:
            return False

        __hash__ = datetime.datetime.__hash__

    assert bind_value(NotATime(2024, 1, 1)) is None
