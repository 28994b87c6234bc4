"""Hypothesis strategies for values, rows and results."""

from __future__ import annotations

from hypothesis import strategies as st

from quicsql_client.types import Result, Value

INT64 = st.integers(-(2**63), 2**63 - 1)
REAL = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUE: st.SearchStrategy[Value] = st.one_of(st.none(), INT64, REAL, TEXT, st.binary())

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


def exact(value: object) -> object:
    """A value that compares with its type and, for REAL, the sign of its zero."""
    if isinstance(value, tuple | list):
        return [exact(item) for item in value]
    return (type(value).__name__, repr(value))


@st.composite
def results(draw: st.DrawFn) -> Result:
    width = draw(st.integers(0, 4))
    columns = draw(st.lists(TEXT, min_size=width, max_size=width))
    rows = draw(st.lists(st.tuples(*[VALUE] * width), max_size=4))
    return Result(
        tuple(columns), tuple(rows), draw(INT64), draw(INT64), truncated=draw(st.booleans())
    )
