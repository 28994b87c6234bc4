"""What the server made at run time and must remember: a SQLite file of its own.

`store` keeps the file; each other module here is one subject of it. It must not know HTTP, nor who
may ask. The file is never served.
Source: protocol/operations.md, Admin and Audit; protocol/auth.md, Device enrolment.
"""

from .store import MetaStore, StoreError

__all__ = ["MetaStore", "StoreError"]
