"""Where our server means to answer otherwise than upstream, and what it does not serve yet.

Every entry has to hold: a step that no longer differs, and a case that passes, fail its test.
"""

from __future__ import annotations

from collections.abc import Mapping

_SEQUENCE = "an error in sequence carries message and code: clients match codes"
_PROBES = "version probes answer without credentials: libSQL's clients probe without them"
_UNPADDED = "blobs are accepted without base64 padding: libSQL's Python client sends them so"
_TRANSACTIONS = "no BEGIN, COMMIT or SAVEPOINT on /query: it would bind a shared connection"

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
    ("x-native-errors", 7): _TRANSACTIONS,
    ("x-native-errors", 8): _TRANSACTIONS,
}
"""(case, number of the step): why it differs. The table in docs/server.md says it to users."""

NOT_SERVED_YET: Mapping[str, tuple[str, ...]] = {
    "the change feed": (
        *("ops-changes-denied", "x-open-mode-no-control-plane"),
        *("x-feed-[!e]*", "x-rate-limit-endpoints"),
    ),
    "blobs": (
        *("ops-blob", "x-blob-life", "x-blob-binary-and-chunks", "x-blob-provision-options"),
        *("x-blob-bad-parameters", "x-blob-unknown-store", "x-blob-range-ignored"),
        *("x-blob-two-stores", "x-max-blob-bytes", "x-open-mode-unknown-database"),
    ),
    "the admin surface": (
        *("ops-admin-*", "x-admin-*", "x-precedence-cert-*", "x-keyring-roster-key"),
        "x-restore-cap",
        *("x-session-grants-are-live", "x-session-cap-freed-by-kill", "x-feed-ends-on-detach"),
    ),
    "enrolment": ("x-enroll-*",),
}
"""What a later version serves: patterns of the ids of the cases that wait for it."""
