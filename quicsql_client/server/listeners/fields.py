"""Requests and answers as lists of fields, the way HTTP/2 and HTTP/3 carry them.

Must not know framing, streams or windows.
Source: protocol/transports.md, "Limits"; RFC 9113 8.3 and RFC 9114 4.3.
"""

from __future__ import annotations

from collections.abc import Iterable

from .asgi import ASGIApplication, Headers, Scope, answer_asterisk, plain_answer
from .scope import BadRequest, ConnectionFacts, check_host, parse_target, replace_host
from .settings import MAX_HEADER_LIST_BYTES

_FIELD_OVERHEAD_BYTES = 32  # RFC 9113 6.5.2, RFC 9114 4.2.2
_CONNECTION_FIELDS = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"})


def read_request(
    facts: ConnectionFacts,
    version: str,
    fields: Iterable[tuple[bytes, bytes]],
    app: ASGIApplication,
) -> tuple[ASGIApplication, Scope]:
    """Who answers a request, and its scope: app, or below it what refuses with 400 or 431.

    version: as scopes have it. fields: with the pseudo-header fields, their order and names
    already checked.
    """
    listed = [(bytes(name), bytes(value)) for name, value in fields]
    size = sum(len(name) + len(value) + _FIELD_OVERHEAD_BYTES for name, value in listed)
    if size > MAX_HEADER_LIST_BYTES:
        return refusal(facts, version, 431, "the header fields are too long")
    try:
        scope = _scope(facts, version, listed)
    except BadRequest as error:
        return refusal(facts, version, 400, str(error))
    is_asterisk = scope["method"] == "OPTIONS" and scope["raw_path"] == b"*"
    return answer_asterisk if is_asterisk else app, scope


def refusal(
    facts: ConnectionFacts, version: str, status: int, reason: str
) -> tuple[ASGIApplication, Scope]:
    """What answers a request that no application gets to see, and a scope in place of its own."""
    scope = facts.scope(version, "GET", parse_target("GET", b"/"), [])
    return plain_answer(status, reason), scope


def _scope(facts: ConnectionFacts, version: str, fields: Headers) -> Scope:
    pseudo = {name: value for name, value in fields if name.startswith(b":")}
    headers = [field for field in fields if not field[0].startswith(b":")]
    if b":protocol" in pseudo:
        raise BadRequest("extended CONNECT is not spoken here")
    method = pseudo[b":method"].decode("ascii", "replace")
    target = parse_target(method, pseudo.get(b":path", pseudo.get(b":authority", b"")))
    authority = pseudo.get(b":authority")
    if authority is not None:
        check_host(authority)
        headers = replace_host(headers, authority)
    return facts.scope(version, method, target, headers)


def answer_fields(status: int, headers: Headers) -> Headers:
    """The fields of an answer, without those that only HTTP/1.1 may have."""
    kept = (field for field in headers if field[0] not in _CONNECTION_FIELDS)
    return [(b":status", b"%d" % status), *kept]
