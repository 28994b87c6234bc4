"""The Hrana pipeline, in both directions: shared messages, requests, answers, tagged values.

The client half encodes requests and decodes answers; the server half decodes requests, raising
RemoteProtocolError with the text of the 400 answer, and encodes answers.
Source: protocol/hrana.md.
"""

from .answers import decode_answer, encode_answer
from .messages import (
    Batch,
    BatchResult,
    Close,
    Condition,
    Execute,
    GetAutocommit,
    Pipeline,
    Step,
    Stmt,
    StreamError,
    StreamRequest,
    StreamResult,
    Unknown,
)
from .requests import decode_pipeline, encode_pipeline

__all__ = [
    "Batch",
    "BatchResult",
    "Close",
    "Condition",
    "Execute",
    "GetAutocommit",
    "Pipeline",
    "Step",
    "Stmt",
    "StreamError",
    "StreamRequest",
    "StreamResult",
    "Unknown",
    "decode_answer",
    "decode_pipeline",
    "encode_answer",
    "encode_pipeline",
]
