"""Whether a request may be sent again: what cannot run twice, or changes nothing. Does no I/O."""

from __future__ import annotations

from ..errors import ReadTimeout, ResponseTooLarge, TLSError, TransportError, WriteTimeout
from ..wire.messages import Request
from .base import is_safe_method
from .events import RequestNotProcessed

__all__ = ["MAX_TRIES", "may_send_again"]

MAX_TRIES = 3
"""Of one request that the server says it did not process, or that met a dead kept connection."""

_NEVER_AGAIN = (ReadTimeout, WriteTimeout, ResponseTooLarge, TLSError)


def may_send_again(error: TransportError, request: Request, was_used: bool) -> bool:
    """Whether the request can be sent again without running twice.

    was_used: another exchange on the connection had ended well. A new connection that fails is
    reported; one that was kept may have been closed by the server meanwhile.
    """
    if isinstance(error, RequestNotProcessed):
        return True
    if not was_used or isinstance(error, _NEVER_AGAIN):
        return False
    is_unanswered = is_safe_method(request.method) and not error.answer_began
    return not error.may_have_run or is_unanswered
