"""The application: every listener's requests, from the ASGI scope to the answer.

One object serves all listeners and outlives reloads; `on` gives a listener its callable. The order
of checks is the list `STAGES`, with CORS around it; the paths are the table `ENDPOINTS`. It must
not know sockets or TLS: a peer's certificate arrives in the ASGI `tls` extension.
Source: protocol/README.md.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeAlias

from ..wire.health import encode_health
from ..wire.messages import Response
from .api import (
    admin,
    blob,
    challenge,
    changes,
    changeset,
    cursor,
    enroll,
    hrana,
    metrics,
    native,
    session,
    transfer,
)
from .api.authentication import authenticate, renewal_headers
from .api.exchange import (
    READ_ONLY,
    Exchange,
    Listening,
    Receive,
    Refusal,
    Scope,
    Send,
    Services,
    Settings,
    StreamedResponse,
    json_response,
    unavailable,
)
from .attaching import Attaching
from .auth import Authenticator, Devices, Signers
from .config import Config
from .control import ControlPlane
from .cors import CORS
from .engine import CannotOpen, DatabaseUnavailable
from .enrolment import Enrolment
from .grants import RuntimeGrants
from .limits import Limits
from .logs import fields
from .policy import Level, Policy, principals_that_lost
from .registry import Registry
from .routing import NoRoute, resolve
from .sessions import Sessions

__all__ = ["ENDPOINTS", "STAGES", "Application"]

ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Answer: TypeAlias = Response | StreamedResponse
Handler: TypeAlias = Callable[[Exchange], Awaitable[Answer]]
Stage: TypeAlias = Callable[[Exchange], Awaitable[Answer | None]]

_log = logging.getLogger("quicsql.server")

# A body that takes longer is cut (protocol/transports.md, Timeouts).
BODY_TIMEOUT_S: Final = 30.0
_NO_CONTENT: Final = 204


class Application:
    """The ASGI 3 application of the server, shared by its listeners.

    registry, sessions: open ones, which the caller closes after the last listener. control: of
    `/_admin`, loaded; None turns it off. body_timeout_s: how long a request's body may take.
    signers: of challenges and session tokens; new ones when not given. enrolment: open; None:
    nobody can enrol.
    """

    def __init__(
        self,
        config: Config,
        *,
        registry: Registry,
        sessions: Sessions,
        control: ControlPlane | None = None,
        body_timeout_s: float = BODY_TIMEOUT_S,
        signers: Signers | None = None,
        enrolment: Enrolment | None = None,
    ) -> None:
        limits = Limits(
            rate_per_s=config.limits.rate.per_principal_rps,
            max_concurrent_per_db=config.limits.max_concurrent_per_db,
        )
        self._signers = signers or Signers.of(config.auth)
        self._grants = control.grants if control is not None else RuntimeGrants()
        self._devices = enrolment.devices if enrolment is not None else Devices()
        self._settings = self.prepare(config)
        self._services = Services(
            current=lambda: self._settings,
            registry=registry,
            sessions=sessions,
            limits=limits,
            attaching=Attaching(config, registry),
            routing=config.routing,
            control=control,
            enrolment=enrolment,
            body_timeout_s=body_timeout_s,
        )
        if enrolment is not None:
            enrolment.departures.append(self._forget)

    def _forget(self, principal: str, database: str) -> None:
        """Keep nothing of a principal, nor of a database, that went for good."""
        self._services.limits.forget(principal)
        self._services.metrics.forget(database)

    def on(self, methods: Collection[str], name: str = "") -> ASGIApplication:
        """The ASGI callable of a listener that accepts these authentication methods."""
        listening = Listening(name, frozenset(methods))

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                raise NotImplementedError(f"only HTTP is served, not {scope['type']!r}")
            exchange = Exchange(scope, receive, send, listening, self._settings, self._services)
            try:
                answer = await _respond(exchange)
                if isinstance(answer, Response):
                    _run_all(exchange.when_answered)
                await _send(answer, exchange.method, send)
            finally:
                _run_all(exchange.when_answered)
                _run_all(exchange.at_end)

        return application

    def prepare(self, config: Config) -> Settings:
        """What a reload would take over; reads the key roster. Raises: ConfigurationError."""
        return Settings(
            authenticator=Authenticator(config.auth, self._signers, self._devices),
            policy=Policy(config, self._grants),
            cors=CORS(config.cors),
            admins=frozenset(config.control_plane.admins),
            max_request_bytes=config.limits.max_request_bytes,
            max_export_bytes=config.limits.max_export_bytes,
            max_restore_bytes=config.limits.max_restore_bytes,
            max_blob_bytes=config.limits.max_blob_bytes,
            statement_timeout_s=config.limits.statement_timeout_s,
        )

    def reload(self, config: Config, prepared: Settings | None = None) -> frozenset[str]:
        """Take over principals, server-admins, grants, limits, caps and CORS, for the next request
        on any connection.

        prepared: what `prepare` gave for this configuration, None: prepare it now.
        The key roster is read again, and enrolment is taken over; session tokens keep their keys
        and lifetimes, and those of principals that are gone are refused for good. Gives the names
        of the principals that are gone or lost a grant ("" for anonymous callers); the caller ends
        their streams. Listeners, databases and routing stay as they were. The statement timeout and
        the caps of results on databases are the registry's (`Registry.replace_caps`).
        Raises: ConfigurationError when the roster cannot be read, and nothing was changed.
        """
        old, self._settings = self._settings, prepared or self.prepare(config)
        self._services.limits.replace(
            rate_per_s=config.limits.rate.per_principal_rps,
            max_concurrent_per_db=config.limits.max_concurrent_per_db,
        )
        gone = old.authenticator.names - self._settings.authenticator.names
        if self._services.enrolment is not None:
            gone |= self._services.enrolment.replace(config.auth.enroll)
        for name in gone:
            self._signers.tokens.revoke_all_of(name)
        others = {*old.authenticator.names, *(device.name for device in self._devices.list())}
        return principals_that_lost(old.policy, self._settings.policy, others) | gone


def _run_all(actions: list[Callable[[], None]]) -> None:
    while actions:
        actions.pop(0)()


async def _respond(exchange: Exchange) -> Answer:
    """The whole answer: a preflight asks for no credentials, any other gets its CORS fields and the
    successor of the session token that asked for it, when that is due.
    """
    cors, origin = exchange.settings.cors, exchange.header(b"origin")
    if exchange.method == "OPTIONS":
        requested_method = exchange.header(b"access-control-request-method")
        permission = cors.preflight(origin, requested_method)
        if permission is not None:
            return Response(_NO_CONTENT, permission)
    answer = await _answer(exchange)
    added = (*renewal_headers(exchange), *cors.headers(origin))
    return replace(answer, headers=(*answer.headers, *added)) if added else answer


async def _answer(exchange: Exchange) -> Answer:
    """The first answer that a stage gives; every failure becomes the error envelope."""
    try:
        for stage in STAGES:
            response = await stage(exchange)
            if response is not None:
                return response
        raise LookupError("the last stage always answers")
    except Refusal as refusal:
        return refusal.response()
    except CannotOpen as exc:
        _log.error("database %s does not open: %s", exchange.database, exc)
        return Refusal(500, "internal error").response()
    except DatabaseUnavailable as exc:
        _log.warning("database %s is not available: %s", exchange.database, exc)
        return unavailable("database temporarily unavailable").response()
    except Exception:  # the border of a request: one that fails must not take its connection along
        _log.exception(
            "request failed",
            extra=fields(
                method=exchange.method,
                database=exchange.database,
                endpoint=exchange.endpoint,
                listener=exchange.listening.name,
            ),
        )
        return Refusal(500, "internal error").response()


async def _send(response: Answer, method: str, send: Send) -> None:
    length: int | None
    if isinstance(response, Response):
        length = len(response.body) if response.status != _NO_CONTENT else None
        body = b"" if method == "HEAD" else response.body
    else:
        length, body = response.length, b""
    headers = [(name.encode(), value.encode()) for name, value in response.headers]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if isinstance(response, StreamedResponse):
        sent = 0
        async with contextlib.aclosing(response.chunks) as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                sent += len(chunk)
        if length is not None and sent < length:
            return  # without a last message the listener cuts the answer: it must not look whole
    await send({"type": "http.response.body", "body": body, "more_body": False})


# The stages, in the order of STAGES. Each answers, refuses, or finds something out and lets the
# next one look.


async def _answer_public_paths(exchange: Exchange) -> Response | None:
    """Paths that ask for no credentials. Source: protocol/auth.md, Public paths."""
    if exchange.path == "/_health":
        return json_response(encode_health())
    methods = exchange.listening.methods
    if "keyring" in methods:
        if exchange.path == "/_auth/challenge":
            return await challenge.challenge(exchange)
        enrolment = exchange.services.enrolment
        if exchange.path == "/_auth/enroll" and enrolment is not None and enrolment.is_enabled:
            return await enroll.enroll(exchange, enrolment)
    has_tokens = exchange.settings.authenticator.signers.tokens.is_enabled
    if "session" in methods and has_tokens and exchange.path == "/_auth/session":
        return await session.session(exchange)
    return None


async def _answer_version_probes(exchange: Exchange) -> Response | None:
    """`GET /<db>/v2` and `/v3`: libSQL clients probe without credentials and fall back to Hrana 2
    on a 401.
    """
    if exchange.method == "GET" and not exchange.path.startswith("/_"):
        try:
            target = resolve(exchange.services.routing, exchange.path, exchange.host)
        except NoRoute:
            return None
        if target.endpoint in _PROBES:
            return Response(200)
    return None


async def _answer_server_paths(exchange: Exchange) -> Response | None:
    """`/_...` paths, none of which is a database. Source: protocol/README.md, Routing."""
    path = exchange.path
    if not path.startswith("/_"):
        return None
    if path == "/_metrics":
        return metrics.report(exchange)
    if path == "/_admin" or path.startswith("/_admin/"):
        return await admin.answer(exchange)
    raise Refusal(404, "reserved path not available")


async def _route(exchange: Exchange) -> None:
    try:
        target = resolve(exchange.services.routing, exchange.path, exchange.host)
    except NoRoute as exc:
        raise Refusal(404, str(exc)) from None
    if target.endpoint not in ENDPOINTS:
        raise Refusal(404, f"unknown endpoint {target.endpoint}")
    exchange.database, exchange.endpoint = target.database, target.endpoint


async def _permit(exchange: Exchange) -> None:
    """The HTTP method, then the level; blob endpoints look at the level first."""
    endpoint = ENDPOINTS[exchange.endpoint]
    exchange.level = exchange.settings.policy.level(exchange.database, exchange.principal.name)
    if endpoint.is_level_first:
        _require_level(exchange.level, endpoint.level)
    if endpoint.method is not None and exchange.method != endpoint.method:
        raise Refusal(405, f"use {endpoint.method}")
    if endpoint.precondition is not None:
        endpoint.precondition(exchange)
    _require_level(exchange.level, endpoint.level)


def _require_level(level: Level, required: Level) -> None:
    """Source: protocol/auth.md, Authorisation."""
    if level >= required:
        return
    raise Refusal(403, READ_ONLY if level else "forbidden: no access to this database")


async def _serve(exchange: Exchange) -> Answer:
    """Admit and run. A request that is refused as busy has still spent its token."""
    endpoint = ENDPOINTS[exchange.endpoint]
    if not endpoint.is_limited:
        return await endpoint.handler(exchange)
    limits = exchange.services.limits
    wait_s = limits.take_token(exchange.principal.name)
    if wait_s:
        retry_after = (("retry-after", str(math.ceil(wait_s))),)
        raise Refusal(429, "rate limit exceeded", retry_after)
    if not limits.enter(exchange.database):
        raise unavailable("database busy: too many concurrent requests")
    if not endpoint.is_counted:
        limits.leave(exchange.database)
        return await endpoint.handler(exchange)
    exchange.at_end.append(partial(limits.leave, exchange.database))
    if exchange.database in exchange.services.registry.names():
        exchange.at_end.append(exchange.services.metrics.begin(exchange.database))
    return await endpoint.handler(exchange)


STAGES: Final[tuple[Stage, ...]] = (
    _answer_public_paths,
    _answer_version_probes,
    authenticate,
    _answer_server_paths,
    _route,
    _permit,
    _serve,
)
"""What every request passes, in this order. Source: protocol/README.md, Life of a request."""


async def _probe(exchange: Exchange) -> Response:
    return Response(200)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a path asks of a request.

    method: None is any. is_limited: whether rate and concurrency limits hold. is_counted: whether
    it is itself a request in flight, and in the metrics. is_level_first: look at the level before
    the method. precondition: refuses what this server does not have, before the level is looked at.
    """

    method: str | None
    level: Level
    handler: Handler
    is_limited: bool = True
    is_counted: bool = True
    is_level_first: bool = False
    precondition: Callable[[Exchange], object] | None = None


_PROBES: Final = ("/v2", "/v3")

ENDPOINTS: Final[dict[str, Endpoint]] = {
    "/query": Endpoint("POST", Level.READ_ONLY, native.query),
    **dict.fromkeys(_PROBES, Endpoint(None, Level.NONE, _probe, is_limited=False)),
    "/v2/pipeline": Endpoint("POST", Level.READ_ONLY, hrana.pipeline),
    "/v3/pipeline": Endpoint("POST", Level.READ_ONLY, hrana.pipeline),
    "/v2/cursor": Endpoint("POST", Level.READ_ONLY, cursor.cursor),
    "/v3/cursor": Endpoint("POST", Level.READ_ONLY, cursor.cursor),
    "/export": Endpoint("GET", Level.READ_ONLY, transfer.export),
    "/backup": Endpoint("GET", Level.READ_ONLY, transfer.backup),
    "/changeset/apply": Endpoint("POST", Level.READ_WRITE, changeset.apply),
    "/changeset/invert": Endpoint("POST", Level.READ_ONLY, changeset.invert),
    "/changeset/concat": Endpoint("POST", Level.READ_ONLY, changeset.concat),
    "/blob/provision": Endpoint("POST", Level.READ_WRITE, blob.provision, is_level_first=True),
    "/blob/create": Endpoint("POST", Level.READ_WRITE, blob.create, is_level_first=True),
    "/blob/write": Endpoint("POST", Level.READ_WRITE, blob.write, is_level_first=True),
    "/blob/read": Endpoint("GET", Level.READ_ONLY, blob.read, is_level_first=True),
    "/blob/size": Endpoint("GET", Level.READ_ONLY, blob.size, is_level_first=True),
    "/blob/delete": Endpoint("POST", Level.READ_WRITE, blob.delete, is_level_first=True),
    "/changes": Endpoint(
        *("GET", Level.READ_ONLY, changes.changes),
        is_counted=False,
        precondition=changes.require_feeds,
    ),
}
"""The paths behind a database's name. Source: protocol/README.md, Endpoints."""
