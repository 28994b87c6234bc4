"""Hrana, in both directions: shared messages, requests, answers, tagged values.

The client half encodes requests and decodes answers; the server half decodes requests, raising
RemoteProtocolError with the text of the 400 answer, and encodes answers. A cursor's answer is
`wire.cursor`'s.
Source: protocol/hrana.md.
"""

from ...types import Description
from .answers import decode_answer, encode_answer
from .messages import (
    Batch,
    BatchResult,
    Close,
    CloseSQL,
    Condition,
    Cursor,
    Describe,
    Execute,
    GetAutocommit,
    Pipeline,
    Script,
    SessionChangeset,
    SessionStart,
    Step,
    Stmt,
    StoreSQL,
    StreamError,
    StreamRequest,
    StreamResult,
    Unknown,
)
from .requests import decode_cursor, decode_pipeline, encode_cursor, encode_pipeline

__all__ = [
    "Batch",
    "BatchResult",
    "Close",
    "CloseSQL",
    "Condition",
    "Cursor",
    "Describe",
    "Description",
    "Execute",
    "GetAutocommit",
    "Pipeline",
    "Script",
    "SessionChangeset",
    "SessionStart",
    "Step",
    "Stmt",
    "StoreSQL",
    "StreamError",
    "StreamRequest",
    "StreamResult",
    "Unknown",
    "decode_answer",
    "decode_cursor",
    "decode_pipeline",
    "encode_answer",
    "encode_cursor",
    "encode_pipeline",
]
