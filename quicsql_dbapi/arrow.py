"""ArrowRows: a result for Arrow's readers, by the PyCapsule interface and without pyarrow.

    polars.DataFrame(cursor.fetch_arrow())    pyarrow.table(cursor.fetch_arrow())

The structures are Arrow's C data and C stream interfaces, by ctypes. What is exported stays in
`_kept` until its reader calls `release`, from any thread.
Source: arrow.apache.org/docs/format/CDataInterface.html, CStreamInterface.html and
CDataInterface/PyCapsuleInterface.html.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import sys
import threading
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from .columns import Buffer, ColumnData, column_data

__all__ = ["ArrowRows"]

_NULLABLE = 2
_STRUCT = b"+s"
_POINTER = ctypes.c_void_p


class _Schema(ctypes.Structure):
    _fields_ = (
        ("format", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("metadata", ctypes.c_char_p),
        ("flags", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("children", _POINTER),
        ("dictionary", _POINTER),
        ("release", _POINTER),
        ("private_data", _POINTER),
    )


class _Array(ctypes.Structure):
    _fields_ = (
        ("length", ctypes.c_int64),
        ("null_count", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("n_buffers", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("buffers", _POINTER),
        ("children", _POINTER),
        ("dictionary", _POINTER),
        ("release", _POINTER),
        ("private_data", _POINTER),
    )


class _Stream(ctypes.Structure):
    _fields_ = (
        ("get_schema", _POINTER),
        ("get_next", _POINTER),
        ("get_last_error", _POINTER),
        ("release", _POINTER),
        ("private_data", _POINTER),
    )


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.argtypes = (_POINTER, ctypes.c_char_p, _POINTER)
_new_capsule.restype = ctypes.py_object
_STREAM_NAME = b"arrow_array_stream"  # a capsule keeps the pointer, so it must not move

_kept: dict[int, Any] = {}
_keys = itertools.count(1)
_lent: list[tuple[Any, _Stream]] = []
_lock = threading.RLock()


class ArrowRows:
    """Rows as a table of Arrow columns: int64, float64, utf8, binary, and null.

    Readers may take it many times; nothing is copied for them.
    """

    def __init__(
        self,
        names: Sequence[str],
        decltypes: Sequence[str | None],
        rows: Sequence[Sequence[Any]],
    ) -> None:
        """Raises: DataError for a column that no one type holds."""
        cells = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        self._columns = [
            column_data(name, declared, column)
            for name, declared, column in zip(names, decltypes, cells, strict=True)
        ]
        self._length = len(rows)

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._columns)} columns, {self._length} rows>"

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        """A capsule with an ArrowArrayStream; requested_schema is not followed, as it may be."""
        _sweep()
        stream = _Stream(_address(_get_schema), _address(_get_next), _address(_get_last_error))
        stream.private_data = _keep([self._columns, self._length, False])
        stream.release = _address(_release_stream)
        capsule = _new_capsule(ctypes.addressof(stream), _STREAM_NAME, None)
        _lent.append((capsule, stream))
        return capsule

    def __del__(self) -> None:
        _sweep()


def _callback(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a function that C can call; it is never let go: readers call `release` as late as the
    interpreter's end, when modules have been emptied.
    """
    prototype = ctypes.CFUNCTYPE(result, *arguments)

    def make(function: Callable[..., Any]) -> Any:
        callback = prototype(function)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(callback))
        return callback

    return make


def _sweep() -> None:
    """Forget the capsules that nobody else holds, and what was never taken from them.

    In place of a destructor of the capsule: that one could run while an exception is on its way,
    when no Python code may.
    """
    with _lock:  # re-entrant: a garbage collection may come in between
        for entry in _lent[:]:
            # Referred to by the entry, and by the call that counts.
            if sys.getrefcount(entry[0]) <= 2 and entry in _lent:
                _lent.remove(entry)
                _drop(entry[1])


def _keep(what: Any) -> int:
    key = next(_keys)
    _kept[key] = what
    return key


def _drop(exported: Any) -> None:
    """What `release` does: let go of what was kept, and mark the structure as released."""
    if exported.release:
        exported.release = None
        _kept.pop(exported.private_data, None)


def _release_children(exported: Any, kind: Any) -> None:
    """A reader may have moved a child away; that one has no `release` here any more."""
    children = (_POINTER * exported.n_children).from_address(exported.children or 0)
    for address in children:
        _drop(kind.from_address(address))


def _ends(exported: Any, is_ending: Callable[[], bool] = sys.is_finalizing) -> bool:
    """Whether the interpreter ends: this module may be empty then, and all is the system's soon."""
    if is_ending():
        exported.release = None
        return True
    return False


@_callback(None, _POINTER)
def _release_schema(address: int, kind: Any = _Schema, ends: Any = _ends) -> None:
    schema = kind.from_address(address)
    if ends(schema):
        return
    if schema.n_children:
        _release_children(schema, _Schema)
    _drop(schema)


@_callback(None, _POINTER)
def _release_array(address: int, kind: Any = _Array, ends: Any = _ends) -> None:
    exported = kind.from_address(address)
    if ends(exported):
        return
    if exported.n_children:
        _release_children(exported, _Array)
    _drop(exported)


@_callback(None, _POINTER)
def _release_stream(address: int, kind: Any = _Stream, ends: Any = _ends) -> None:
    stream = kind.from_address(address)
    if not ends(stream):
        _drop(stream)


@_callback(ctypes.c_int, _POINTER, _POINTER)
def _get_schema(address: int, out: int) -> int:
    state = _kept.get(_Stream.from_address(address).private_data)
    if state is None:
        return errno.EINVAL
    columns = [_schema_of(column.format.encode(), column.name.encode()) for column in state[0]]
    _fill_schema(_Schema.from_address(out), _STRUCT, b"", columns)
    return 0


@_callback(ctypes.c_int, _POINTER, _POINTER)
def _get_next(address: int, out: int) -> int:
    state = _kept.get(_Stream.from_address(address).private_data)
    if state is None:
        return errno.EINVAL
    columns, length, is_done = state
    if is_done or not length:
        _Array.from_address(out).release = None  # the end
        return 0
    state[2] = True
    children = [_array_of(column) for column in columns]
    _fill_array(_Array.from_address(out), length, 0, (None,), children)
    return 0


@_callback(_POINTER, _POINTER)
def _get_last_error(address: int) -> None:
    return None


def _address(callback: Any) -> int:
    return ctypes.cast(callback, _POINTER).value or 0


def _pointers(structures: Sequence[ctypes.Structure]) -> Any:
    return (_POINTER * len(structures))(*map(ctypes.addressof, structures))


def _schema_of(form: bytes, name: bytes) -> _Schema:
    schema = _Schema()
    _fill_schema(schema, form, name, ())
    return schema


def _fill_schema(schema: _Schema, form: bytes, name: bytes, children: Sequence[_Schema]) -> None:
    pointers = _pointers(children)
    schema.format, schema.name, schema.metadata = form, name, None
    schema.flags = 0 if children else _NULLABLE
    schema.n_children, schema.children = len(children), ctypes.addressof(pointers)
    schema.dictionary = None
    schema.private_data = _keep((form, name, children, pointers))
    schema.release = _address(_release_schema)


def _array_of(column: ColumnData) -> _Array:
    exported = _Array()
    _fill_array(exported, column.length, column.null_count, column.buffers, ())
    return exported


def _fill_array(
    exported: _Array,
    length: int,
    null_count: int,
    buffers: Sequence[Buffer],
    children: Sequence[_Array],
) -> None:
    addresses = (_POINTER * len(buffers))(*map(_start_of, buffers))
    pointers = _pointers(children)
    exported.length, exported.null_count, exported.offset = length, null_count, 0
    exported.n_buffers, exported.buffers = len(buffers), ctypes.addressof(addresses)
    exported.n_children, exported.children = len(children), ctypes.addressof(pointers)
    exported.dictionary = None
    exported.private_data = _keep((buffers, addresses, children, pointers))
    exported.release = _address(_release_array)


def _start_of(buffer: Buffer) -> int | None:
    if isinstance(buffer, array):
        return buffer.buffer_info()[0]
    return None if buffer is None else ctypes.cast(ctypes.c_char_p(buffer), _POINTER).value
