"""Where our server means to answer otherwise than upstream.

Every entry has to hold: a step that no longer differs fails its test.
"""

from __future__ import annotations

from collections.abc import Mapping

_SEQUENCE = "an error in sequence carries message and code: clients match codes"
_PROBES = "version probes answer without credentials: libSQL's clients probe without them"
_UNPADDED = "blobs are accepted without base64 padding: libSQL's Python client sends them so"
_SENT_AWAY = "session tokens of a device that was sent away are refused"
_MVCC = "the backend mvcc is refused by name: an in-package server has no such container"

INTENDED: Mapping[tuple[str, int], str] = {
    ("x-sequence-fails-midway", 0): _SEQUENCE,
    ("x-sequence-syntax-error", 0): _SEQUENCE,
    ("x-execute-attach", 0): _SEQUENCE,
    ("x-version-probes", 9): _PROBES,
    ("x-version-probes", 10): _PROBES,
    ("x-cursor-named-args", 0): "named arguments are accepted with their sign: clients send it",
    ("x-blob-bad", 0): _UNPADDED,
    ("x-cursor-bad-value", 1): _UNPADDED,
    ("x-errors-text-pk", 0): "true counters: the recorded row id is that of a statement before",
    ("x-enroll-session-of-enrolled", 4): _SENT_AWAY,
    **{("x-admin-create-backends", step): _MVCC for step in (8, 9, 10, 11)},
}
"""(case, number of the step): why it differs. The table in docs/server.md says it to users."""
