"""`/_admin`: the control plane over HTTP.

    dispatch        the table of endpoints, and the checks that come before each
    errand          one request here: its body, and the row that the audit gets of it
    databases, sessions, maintenance, restore    the endpoints

Source: protocol/operations.md, Admin.
"""

from .dispatch import ENDPOINTS, answer

__all__ = ["ENDPOINTS", "answer"]
