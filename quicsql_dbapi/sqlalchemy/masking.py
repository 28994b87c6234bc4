"""MaskedURL: an engine's URL whose shown form hides every secret, not the password alone."""

from __future__ import annotations

from sqlalchemy.engine import URL

__all__ = ["MaskedURL"]

_SECRETS = ("token", "password", "sslpassword")
_MASK = "***"  # as SQLAlchemy masks a password


class MaskedURL(URL):
    """A `quicsql://` URL; `repr`, `str` and logs show `***` for token and passwords."""

    def render_as_string(self, hide_password: bool = True) -> str:
        """The URL as text. hide_password: False shows the secrets, too."""
        if not hide_password:
            return super().render_as_string(hide_password=False)
        masked = {name: _MASK for name in _SECRETS if name in self.query}
        shown = URL.render_as_string(self.update_query_dict(masked))
        return shown.replace("%2A%2A%2A", _MASK)
