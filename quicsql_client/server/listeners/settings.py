"""Limits and timeouts of the listeners: numbers only, no behaviour.

Source: protocol/transports.md, "Timeouts" and "Limits".
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB

MAX_HEADER_BLOCK_BYTES = MIB + 4 * KIB
"""HTTP/1.1: request line and header fields together stay under this; else 431."""

MAX_HEADER_LIST_BYTES = MIB
"""HTTP/2: decoded list (32 bytes a field on top, RFC 9113 6.5.2) over which a request gets 431."""

ANNOUNCED_HEADER_LIST_BYTES = MIB + 320
"""What SETTINGS say: the limit with room for the pseudo-header fields."""

DECODED_HEADER_LIST_BYTES = 2 * MIB
"""A list that decodes to more than this ends the connection: it can only be an HPACK bomb."""

MAX_FRAME_BYTES = 16 * KIB
"""HTTP/2's own default: a frame is collected before it is looked at, and no window counts that."""

STREAM_WINDOW_BYTES = MIB
CONNECTION_WINDOW_BYTES = 4 * MIB
"""All bodies that a connection's applications have not read yet fit in this."""

MAX_CONCURRENT_STREAMS = 250

BODY_BUFFER_BYTES = 64 * KIB
"""HTTP/1.1: body bytes read ahead of the application; then the socket is not read."""

UNREAD_BODY_BYTES = 256 * KIB
"""A body up to this long that the application left unread is read and dropped to keep the
connection."""

WRITE_BUFFER_BYTES = 256 * KIB
"""Bytes waiting for a slow peer, per connection, before `send` waits."""

CONTROL_BACKLOG_BYTES = MIB
"""Answers to control frames that a peer does not read; past it, the peer is not read either."""

MAX_QUIC_STREAMS = 100
"""HTTP/3: of each direction, open at a time."""

MAX_FIELD_BLOCK_BYTES = MIB
"""HTTP/3: an encoded header block over this gets 431 before it is whole."""

QUIC_STREAM_WINDOW_BYTES = MIB + 128 * KIB
"""What a client may send on a request's stream ahead of us: a whole header block fits."""

QUIC_CONTROL_WINDOW_BYTES = 64 * KIB
"""The same on a unidirectional stream, which carries settings and little else."""

MAX_CRYPTO_BYTES = 64 * KIB
"""What a client may send within its TLS handshake, its certificate chain included."""

STREAM_BACKLOG_BYTES = 256 * KIB
"""Bytes of one answer that the client has not acknowledged, before `send` waits."""

CONNECTION_BACKLOG_BYTES = 2 * MIB
"""What the answers of one QUIC connection share. A stream that began among few keeps its share, so
a hundred together have some four times this at most."""

RETRY_ABOVE_HANDSHAKES = 64
"""So many QUIC handshakes at a time, and new clients must first prove their address (Retry)."""

MAX_HANDSHAKES = 512
"""So many, and new clients are not heard; each costs at most some 150 KiB until it is done."""


@dataclass(frozen=True, slots=True)
class HTTPTimeouts:
    """How long a listener waits for a peer, in seconds.

    handshake_s: whole TLS handshake. header_s: a request's header block (also the HTTP/2 preface),
    then closed silently. request_s: a whole request on the transports h1 and unix. idle_s:
    keep-alive. quic_idle_s: a QUIC client that is not heard of.
    write_stall_s: a peer that takes no byte for this long is cut. linger_s: how long what the
    peer still sends is read and dropped after a final answer, so that no reset destroys it.
    """

    handshake_s: float = 10.0
    header_s: float = 10.0
    request_s: float = 30.0
    idle_s: float = 120.0
    quic_idle_s: float = 30.0
    write_stall_s: float = 60.0
    linger_s: float = 1.0


DEFAULT_TIMEOUTS = HTTPTimeouts()
