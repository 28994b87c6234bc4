"""TLS of the client: the ssl.SSLContext, and why a handshake failed, in a sentence.

Knows certificates and OpenSSL's words for failures; opens no connection: what a second look at
the server's certificate brought is handed in. Contexts are always fresh, never changed while in
use. Source: protocol/transports.md, "TLS"; protocol/auth.md, "mTLS".
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime

from cryptography import x509

from .endpoint import Endpoint
from .errors import ConfigurationError, TLSError
from .options import ClientOptions
from .pki.inspection import CertificateFacts, inspect_certificate, spki_pin

__all__ = [
    "TLS_REASONS",
    "check_server_pin",
    "client_context",
    "explain_tls_failure",
    "is_verification_failure",
    "look_context",
]

TLS_REASONS = (
    "untrusted_server",
    "client_ca_as_root_ca",
    "name_mismatch",
    "server_certificate_expired",
    "server_certificate_not_yet_valid",
    "server_certificate_wrong_use",
    "server_pin_mismatch",
    "client_certificate_required",
    "client_certificate_unknown_ca",
    "client_certificate_expired",
    "client_certificate_rejected",
    "protocol_version",
    "plain_http_on_tls_port",
    "tls_on_plain_port",
    "no_application_protocol",
    "connection_cut",
    "other",
)
"""Every value that `TLSError.reason` takes."""

_ALPN = {"h2": ("h2", "http/1.1"), "h3": ("h3",)}
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

# OpenSSL's X509_V_ERR_ numbers (x509_vfy.h); every other one means that no trusted chain was found.
_BY_VERIFY_CODE = {
    9: "server_certificate_not_yet_valid",
    10: "server_certificate_expired",
    26: "server_certificate_wrong_use",
    62: "name_mismatch",
    63: "name_mismatch",
    64: "name_mismatch",
}
# Words of OpenSSL's reason, without prefix: alerts of the server (RFC 8446, 6.2), then what our
# side saw.
_BY_WORDS = (
    ("ALERT_CERTIFICATE_REQUIRED", "client_certificate_required"),
    ("ALERT_UNKNOWN_CA", "client_certificate_unknown_ca"),
    ("ALERT_CERTIFICATE_EXPIRED", "client_certificate_expired"),
    ("ALERT_BAD_CERTIFICATE", "client_certificate_rejected"),
    ("ALERT_UNSUPPORTED_CERTIFICATE", "client_certificate_rejected"),
    ("ALERT_CERTIFICATE_REVOKED", "client_certificate_rejected"),
    ("ALERT_CERTIFICATE_UNKNOWN", "client_certificate_rejected"),
    ("ALERT_ACCESS_DENIED", "client_certificate_rejected"),
    ("ALERT_DECRYPT_ERROR", "client_certificate_rejected"),
    ("ALERT_NO_APPLICATION_PROTOCOL", "no_application_protocol"),
    ("ALERT_PROTOCOL_VERSION", "protocol_version"),
    ("UNSUPPORTED_PROTOCOL", "protocol_version"),
    ("VERSION_TOO_LOW", "protocol_version"),
    ("WRONG_SSL_VERSION", "protocol_version"),
    ("WRONG_VERSION_NUMBER", "tls_on_plain_port"),
    ("HTTP_REQUEST", "tls_on_plain_port"),
    ("RECORD_LAYER_FAILURE", "tls_on_plain_port"),
    ("UNEXPECTED_EOF", "connection_cut"),
)
# "[SSL: REASON] text (_ssl.c:1006)": what stands around the text.
_TEXT_AROUND = re.compile(r"^\[[^\]]*\]\s*|\s*\(_ssl\.c:\d+\)$")


def client_context(options: ClientOptions, endpoint: Endpoint) -> ssl.SSLContext:
    """A fresh context for `endpoint`.

    TLS 1.3 preferred, options.min_tls least; the server's chain and name are verified unless
    endpoint.insecure; names come from subjectAltName only. The system's CAs are trusted only when
    no root CA is given.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[options.min_tls]
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(list(_ALPN.get(endpoint.transport, ("http/1.1",))))
    # A CA of the user's is an anchor as it is, also an intermediate one: what the Go client does.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if endpoint.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif options.root_cas:
        for authority in options.root_cas:
            context.load_verify_locations(cadata=authority.pem())
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if options.client_cert is not None:
        options.client_cert.configure(context)
    return context


def check_server_pin(leaf: bytes | None, options: ClientOptions, endpoint: Endpoint) -> None:
    """Prove that the server's certificate (DER) has a key that options.server_pins names.

    Does nothing without pins. Raises TLSError, reason "server_pin_mismatch"; nothing was sent.
    """
    if not options.server_pins:
        return
    certificate = _parse_leaf(leaf)
    pin = spki_pin(certificate) if certificate is not None else "none that can be read"
    if pin in options.server_pins:
        return
    raise TLSError(
        f"TLS with {endpoint.authority} failed: the server's key has the pin {pin}, expected "
        f"{' or '.join(options.server_pins)} (with_server_pin); if the server was given a new key, "
        "pin that one, else somebody else answers there",
        reason="server_pin_mismatch",
        may_have_run=False,
    )


def look_context(endpoint: Endpoint) -> ssl.SSLContext:
    """A context that verifies nothing and presents nothing:

    Only to read the certificate of a server that failed.

    No request and no credential may ever go over a connection made with it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(_ALPN.get(endpoint.transport, ("http/1.1",))))
    return context


def is_verification_failure(error: BaseException) -> bool:
    """True when our side refused the server's certificate, so that a look at it helps to say "
    "why."""
    return isinstance(error, ssl.SSLCertVerificationError)


def explain_tls_failure(
    error: BaseException,
    *,
    endpoint: Endpoint,
    options: ClientOptions,
    server_leaf: bytes | None = None,
    request: str | None = None,
) -> TLSError:
    """The error to raise for a failed handshake, or for an alert that came after it.

    error: what ssl raised, or the OSError of a connection that was cut. server_leaf: the server's
    certificate (DER) where it is known. The result has .reason from TLS_REASONS and `error` as
    its cause; its text says what was presented, what was expected and what to do.
    """
    leaf = _parse_leaf(server_leaf)
    reason = _reason(error, options, leaf)
    facts = _facts_of(leaf)
    text = _Explanation(endpoint, options, facts, error).text(reason)
    explained = TLSError(text, reason=reason, request=request)
    explained.__cause__ = error
    return explained


def _parse_leaf(der: bytes | None) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(der) if der else None
    except ValueError:  # a peer may send anything
        return None


def _facts_of(leaf: x509.Certificate | None) -> CertificateFacts | None:
    try:
        return inspect_certificate(leaf) if leaf else None
    except ConfigurationError:  # an extension that cannot be read
        return None


# Which reason


def _reason(error: BaseException, options: ClientOptions, leaf: x509.Certificate | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        found = _BY_VERIFY_CODE.get(error.verify_code, "untrusted_server")
        is_mixed_up = found == "untrusted_server" and _is_client_ca_given_as_root(options, leaf)
        return "client_ca_as_root_ca" if is_mixed_up else found
    if isinstance(error, ssl.SSLEOFError) or not isinstance(error, ssl.SSLError):
        return "connection_cut"
    return _alert_reason(_openssl_words(error).upper().replace(" ", "_"), options)


def _alert_reason(words: str, options: ClientOptions) -> str:
    if options.client_cert is None and words.endswith(
        ("ALERT_HANDSHAKE_FAILURE", "ALERT_BAD_CERTIFICATE")
    ):
        # Before TLS 1.3 there is no alert of its own for a missing certificate: OpenSSL sends 40,
        # Go 42.
        return "client_certificate_required"
    found = next((reason for ending, reason in _BY_WORDS if ending in words), "other")
    if found == "client_certificate_rejected" and _is_out_of_date(options):
        return "client_certificate_expired"
    return found


def _openssl_words(error: ssl.SSLError) -> str:
    """OpenSSL's reason in lower case; from the text where Python's table does not know it."""
    known = error.reason or _TEXT_AROUND.sub("", str(error.args[-1] if error.args else ""))
    return known.lower().replace("_", " ")


def _is_out_of_date(options: ClientOptions) -> bool:
    ours = options.client_cert
    return ours is not None and ours.facts.not_after < datetime.now(UTC)


def _is_client_ca_given_as_root(options: ClientOptions, leaf: x509.Certificate | None) -> bool:
    """The root CA given issued our own certificate, and not the server's."""
    ours = options.client_cert
    if ours is None or not options.root_cas:
        return False
    issued_ours = any(authority.issued(ours.leaf) for authority in options.root_cas)
    issued_theirs = leaf is not None and any(a.issued(leaf) for a in options.root_cas)
    return issued_ours and not issued_theirs


# What to say


class _Explanation:
    """The sentences for one failure."""

    def __init__(
        self,
        endpoint: Endpoint,
        options: ClientOptions,
        server: CertificateFacts | None,
        error: BaseException,
    ) -> None:
        self._endpoint = endpoint
        self._options = options
        self._server = server
        self._error = error

    def text(self, reason: str) -> str:
        body: str = getattr(self, f"_{reason}")()
        return f"TLS with {self._endpoint.authority} failed: {body}"

    def _roots(self) -> str:
        names = ", ".join(repr(authority.source) for authority in self._options.root_cas)
        return f"the root CA {names}" if names else "the system's CAs (no root CA was given)"

    def _presented(self) -> str:
        ours = self._options.client_cert
        if ours is None:
            return "we presented no client certificate"
        return f"we presented {ours.facts} from {ours.source!r}, issued by {ours.facts.issuer}"

    def _theirs(self) -> str:
        if self._server is None:
            return "the server's certificate"
        return f"the server's certificate ({self._server}, issued by {self._server.issuer})"

    def _period(self) -> str:
        if self._server is None:
            return ""
        start, end = self._server.not_before, self._server.not_after
        return f" (valid from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC)"

    def _untrusted_server(self) -> str:
        return (
            f"{self._theirs()} leads to none of {self._roots()}; give the CA that issued it with "
            "with_root_ca, "
            "and have the server send its intermediate certificates"
        )

    def _client_ca_as_root_ca(self) -> str:
        return (
            f"{self._theirs()} was not issued by {self._roots()}: that one issued our own client "
            "certificate; "
            "with_root_ca takes the CA of the server, which is another one"
        )

    def _name_mismatch(self) -> str:
        names = ", ".join(self._server.host_names) if self._server else ""
        theirs = names or ("no name at all" if self._server else "other names")
        return (
            f"{self._endpoint.host!r} was dialled and the server's certificate is for {theirs}; "
            "dial one of its names, "
            "or issue it with this one as subjectAltName (the CN does not count)"
        )

    def _server_certificate_expired(self) -> str:
        return (
            f"{self._theirs()}, or one of its chain, has expired{self._period()}; renew it, or "
            "check this machine's clock"
        )

    def _server_certificate_not_yet_valid(self) -> str:
        return (
            f"{self._theirs()}, or one of its chain, is not valid yet{self._period()}; check this "
            "machine's clock"
        )

    def _server_certificate_wrong_use(self) -> str:
        return f"{self._theirs()} is not for servers (extended key usage); issue one for serverAuth"

    def _client_certificate_required(self) -> str:
        if self._options.client_cert is None:
            advice = "give one with with_client_cert"
        else:
            advice = "it took ours for none; give one that a CA of its client_ca file issued"
        return f"the server requires a client certificate, {self._presented()}; {advice}"

    def _client_certificate_unknown_ca(self) -> str:
        return (
            f"the server does not know the CA of our certificate: {self._presented()}; give one "
            "that a CA of the "
            "server's client_ca file issued, or add that CA there"
        )

    def _client_certificate_expired(self) -> str:
        ours = self._options.client_cert
        until = f" valid until {ours.facts.not_after:%Y-%m-%d %H:%M} UTC" if ours else ""
        return (
            f"the server refused our certificate as expired: {self._presented()}{until}; renew "
            "it, or check the clocks"
        )

    def _client_certificate_rejected(self) -> str:
        return (
            f"the server refused our certificate ({self._words()}): {self._presented()}; it must "
            "be for clientAuth, "
            "in date, not revoked, and from a CA of the server's client_ca file"
        )

    def _protocol_version(self) -> str:
        return (
            f"no common TLS version ({self._words()}): we speak {self._options.min_tls} and newer; "
            "update the server, or see with_min_tls"
        )

    def _plain_http_on_tls_port(self) -> str:
        return (
            f'we spoke plain HTTP (transport "{self._endpoint.transport}") and the port expects '
            "TLS; use transport h2 "
            "(Client.h2tls), or dial the cleartext port"
        )

    def _tls_on_plain_port(self) -> str:
        return (
            "the peer does not speak TLS on this port; dial the TLS port, or use transport h1 or "
            "h2c "
            "if cleartext is wanted"
        )

    def _no_application_protocol(self) -> str:
        return (
            f"the server speaks none of {', '.join(_ALPN.get(self._endpoint.transport, ()))} on "
            "this port; "
            "is it a quicSQL listener?"
        )

    def _connection_cut(self) -> str:
        return (
            f"the peer cut the connection ({self._words()}): {self._presented()}. A server that "
            "requires another certificate, "
            "a port that does not speak TLS or a proxy in between does so; look at the server's log"
        )

    def _other(self) -> str:
        return f"{self._words()}; {self._presented()}"

    def _words(self) -> str:
        if isinstance(self._error, ssl.SSLError):
            return _openssl_words(self._error)
        return getattr(self._error, "strerror", None) or "end of stream"
