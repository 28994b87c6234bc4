"""Row factories: what a cursor makes of each row. Called as `sqlite3` calls them, (cursor, row).

    connection = quicsql_dbapi.connect(..., row_factory=quicsql_dbapi.Row)
    cursor = connection.cursor(row_factory=class_row(User))

Know of a cursor only its `column_names`, and nothing of the server.
Source: docs.python.org/3/library/sqlite3.html, "Row objects" and "row factories".
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, overload

from quicsql_client import ProgrammingError

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # its defaults are Python 3.13's; mypy knows them

    T = TypeVar("T")
    RowT = TypeVar("RowT", default=tuple[Any, ...])
else:
    from typing import TypeVar

    T = TypeVar("T")
    RowT = TypeVar("RowT")

__all__ = [
    "Row",
    "RowFactory",
    "RowT",
    "TupleRow",
    "WithColumns",
    "class_row",
    "dict_row",
    "namedtuple_row",
    "scalar_row",
]

TupleRow: TypeAlias = tuple[Any, ...]
"""A row without a factory."""

RowFactory: TypeAlias = Callable[[Any, TupleRow], T]
"""Makes a row of (cursor, tuple of its cells); its result is what fetching gives."""


class WithColumns(Protocol):
    """What a factory may ask of a cursor."""

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the result's columns, in order."""
        ...


class Row(Sequence[Any]):
    """A row by position and by column name, as `sqlite3.Row`: `row[0]`, `row["name"]`.

    Names are found whatever their case; of two columns with one name the first is found. Rows are
    equal when their names and cells are, and hash so. What is not there raises IndexError.
    """

    __slots__ = ("_cells", "_names")

    def __init__(self, cursor: WithColumns, cells: TupleRow, /) -> None:
        self._names = cursor.column_names
        self._cells = cells

    def keys(self) -> list[str]:
        """The names of the columns."""
        return list(self._names)

    @overload
    def __getitem__(self, key: int | str) -> Any: ...

    @overload
    def __getitem__(self, key: slice) -> TupleRow: ...

    def __getitem__(self, key: int | str | slice) -> Any:
        if not isinstance(key, str):
            return self._cells[key]
        position = _positions(self._names).get(key.lower())
        if position is None:
            raise IndexError(f"no column {key!r}; there are {', '.join(self._names)}")
        return self._cells[position]

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cells)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Row):
            return NotImplemented
        return self._names == other._names and self._cells == other._cells

    def __hash__(self) -> int:
        return hash((self._names, self._cells))

    def __repr__(self) -> str:
        return f"<Row {', '.join(self._names)}>"


@lru_cache(maxsize=256)
def _positions(names: tuple[str, ...]) -> dict[str, int]:
    """Lower-case name -> first position."""
    return {name.lower(): i for i, name in reversed(list(enumerate(names)))}


def dict_row(cursor: WithColumns, row: TupleRow) -> dict[str, Any]:
    """The row as a dict. Raises ProgrammingError where two columns have one name."""
    return dict(zip(_unique(cursor.column_names), row, strict=True))


def namedtuple_row(cursor: WithColumns, row: TupleRow) -> Any:
    """The row as a namedtuple; a column whose name is no field name is called `_<position>`."""
    return _named_tuple(cursor.column_names)._make(row)


def scalar_row(cursor: WithColumns, row: TupleRow) -> Any:
    """The first cell of the row."""
    return row[0]


def class_row(kind: Callable[..., T], /) -> RowFactory[T]:
    """A factory that calls `kind` with the cells by column name: a dataclass, or any callable.

    Fetching raises ProgrammingError where the columns do not fit its parameters.
    """

    def make(cursor: WithColumns, row: TupleRow) -> T:
        names = _unique(cursor.column_names)
        try:
            return kind(**dict(zip(names, row, strict=True)))
        except TypeError as exc:
            name = getattr(kind, "__name__", type(kind).__name__)
            raise ProgrammingError(
                f"{name} cannot be made of the columns {', '.join(names)}"
            ) from exc

    return make


@lru_cache(maxsize=256)
def _named_tuple(names: tuple[str, ...]) -> Any:
    return namedtuple("Row", names, rename=True)


@lru_cache(maxsize=256)
def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ProgrammingError(
            f"column names are not unique: {', '.join(names)}; name them apart with AS"
        )
    return names
