"""What is known of a write when its answer was lost: nothing, and the error says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from quicsql_client import OutcomeUnknownError, TransportError

from .statements import Analysis

__all__ = ["lost_writes_are_unknown"]


@contextlib.contextmanager
def lost_writes_are_unknown(analysis: Analysis) -> Iterator[None]:
    """Raise OutcomeUnknownError where the block's answer is lost and it may have written.

    What only reads, or certainly did not run, keeps its error: it may be run again.
    """
    try:
        yield
    except TransportError as exc:
        if analysis.only_reads or not (exc.may_have_run and exc.is_disconnect):
            raise
        raise OutcomeUnknownError(
            f"the answer to {analysis.verb or 'a statement'} was lost: it may have taken effect or "
            "not; look before you run it again",
            sql=exc.sql,
        ) from exc
