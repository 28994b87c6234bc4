"""The server as a whole: build everything from a configuration, listen, reload, drain, stop.

`Server` runs in any event loop and touches no signal, no process state and no log set-up; `serve`
is the process around it. It must not know requests.
Source: protocol/transports.md, Shutdown; protocol/config.md, Validation order.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from ..errors import ConfigurationError
from .alt_svc import AltSvc
from .app import Application
from .auth import Signers
from .config import (
    Config,
    ConfigError,
    DatabaseConfig,
    ListenerConfig,
    LoadedConfig,
    MetaStoreConfig,
    TLSProfile,
    load_config,
)
from .control import ControlPlane
from .drafts import sweep
from .engine import Caps, DatabaseUnavailable
from .enrolment import Enrolment, OwnDatabases
from .feed import Feeds
from .grants import RuntimeGrants
from .listeners import (
    ClientAuth,
    Listener,
    TLSContext,
    open_listener,
    quic_context,
    self_signed_context,
    self_signed_quic_context,
    server_context,
)
from .logs import LOGGER_NAME, configure_logging, escaped
from .metastore import MetaStore
from .places import Places
from .registry import Registry
from .reloading import Changes, compare, databases_added, opens_up
from .sessions import Sessions
from .watching import WATCH_INTERVAL_S, Watch, WatchedFiles, certificate_files, roster_file

__all__ = ["DRAIN_S", "Server", "serve"]

_log = logging.getLogger(LOGGER_NAME)

DRAIN_S: Final = 10.0
"""How long requests in flight may take to finish (protocol/transports.md, Shutdown)."""

_TLS_TRANSPORTS: Final = frozenset(("h2", "h3"))
_OWNER_ONLY: Final = 0o077


class Server:
    """A server of one configuration, in the event loop in which it is made.

    `start` once, then `reload` any number of times, then `stop` (also after a `drain`). Not
    thread-safe. watch_interval_s: between two looks at the files of certificates and keys.
    """

    def __init__(self, config: Config, *, watch_interval_s: float = WATCH_INTERVAL_S) -> None:
        self._started_with = self._config = config
        self._feeds = _feeds(config)
        self._registry = Registry(
            config.databases,
            data_dir=config.server.data_dir,
            caps=_caps(config),
            idle_timeout_s=config.limits.idle_handle_timeout_s,
            feeds=self._feeds,
        )
        self._store: MetaStore | None = None
        self._control: ControlPlane | None = None
        self._sessions: Sessions | None = None
        self._enrolment: Enrolment | None = None
        self._application: Application | None = None
        self._open: list[_Open] = []
        self._alt_svc = AltSvc(config.listeners)
        self._roster = roster_file(config)
        self._watch_interval_s = watch_interval_s
        self._watch: Watch | None = None
        self._reloading = asyncio.Lock()

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """The open listeners in the configuration's order, with their bound addresses."""
        return tuple(entry.listener for entry in self._open)

    async def start(self) -> None:
        """Open the meta store, every database, then every listener in order; if one fails, close
        them all.

        Raises: ConfigurationError, with the text to log.
        """
        try:
            self._control = control = await self._open_control()
            created = control.created if control is not None else frozenset()
            await self._registry.open(lazily=created)
            self._sessions = sessions = _sessions(self._config)
            signers = Signers.of(self._config.auth)
            if control is not None:
                self._enrolment = await self._open_enrolment(control, signers)
            self._application = Application(
                self._config,
                registry=self._registry,
                sessions=sessions,
                control=control,
                signers=signers,
                enrolment=self._enrolment,
            )
            for listener in self._config.listeners:
                await self._open_listener(listener, self._application)
            self._alt_svc.bound(self.listeners)
            self._watch = Watch(self.look_at_files, self._watch_interval_s)
        except BaseException:
            await self.stop(grace_s=0.0)
            raise

    async def _open_control(self) -> ControlPlane | None:
        """The control plane with what it kept; None when it is off."""
        config = self._config
        if not config.control_plane.enabled:
            return None
        kept = config.server.meta_store or MetaStoreConfig()
        path = os.path.join(config.server.data_dir, kept.path)
        self._store = store = MetaStore(path)
        await store.open()
        places = Places(config.server.data_dir, own=(path,))
        control = ControlPlane(store, RuntimeGrants(), self._registry, places)
        await control.load()
        files = [database.file for database in self._registry.list() if database.file]
        sweep({config.server.data_dir or ".", *map(os.path.dirname, map(os.path.realpath, files))})
        return control

    async def _open_enrolment(self, control: ControlPlane, signers: Signers) -> Enrolment:
        """Where devices enrol; whoever did before is known. It may be turned on by a reload."""
        enrolment = Enrolment(
            self._config.auth.enroll,
            control,
            OwnDatabases(control, self._registry),
            tokens=signers.tokens,
            end_streams=self._end_streams,
        )
        await enrolment.open()
        return enrolment

    async def _end_streams(self, principals: Collection[str]) -> None:
        """Ends whatever these principals have open: change feeds and streams."""
        if self._feeds is not None:
            self._feeds.end_of_principals(principals)
        if self._sessions is not None:
            await self._sessions.end_of_principals(principals)

    async def _open_listener(self, config: ListenerConfig, application: Application) -> None:
        try:
            await self._listen(config, application)
        except ConfigurationError as exc:
            place = f"listener {config.name}: "
            reason = str(exc).removeprefix(place)
            raise ConfigurationError(f"start listeners: {place}{reason}") from exc

    async def _listen(self, config: ListenerConfig, application: Application) -> None:
        files = certificate_files(config, self._config)
        make_context = _context_maker(config, self._config)
        listener = await open_listener(
            name=config.name,
            transport=config.transport,
            address=config.address,
            app=self._alt_svc.on(config.transport, application.on(config.auth, config.name)),
            context=make_context() if make_context else None,
            socket_mode=config.socket_mode,
        )
        self._open.append(_Open(listener, make_context, files))

    async def reload(self, config: Config) -> Changes:
        """Take over principals, server-admins, grants, limits, added databases and the contents of
        TLS files; say what changed and what could not.

        In force for the next request on every connection; connections stay. Streams of principals
        that are gone or lost a grant are rolled back, their change feeds end. Raises:
        ConfigurationError, and nothing was changed.
        """
        async with self._reloading:
            assert self._application is not None, "reload after start"  # noqa: S101
            if opens_up(self._config, config):
                raise ConfigurationError(
                    "the new configuration has no principal and no grant, which would let "
                    "everyone in: restart the server if that is wanted"
                )
            # All that can fail comes before anything is taken over.
            roster = roster_file(config)
            prepared = self._application.prepare(config)
            contexts = self._fresh_contexts()
            changes = compare(self._config, config, started_with=self._started_with)
            await self._add_databases(config)
            for entry, context in contexts:
                entry.listener.replace_context(context)
            self._registry.replace_caps(_caps(config))
            lost = self._application.reload(config, prepared)
            self._config, self._roster = config, roster
            await self._end_streams(lost)
            return changes

    async def look_at_files(self) -> None:
        """Take over the files of certificates, and the key roster, that have changed and settled
        since the last look; what cannot be used is logged, and what runs stays.
        """
        async with self._reloading:
            for entry in self._open:
                if entry.make_context is not None:
                    context = await entry.files.look(entry.make_context)
                    if context is not None:
                        entry.listener.replace_context(context)
            application = self._application
            if application is not None:
                prepared = await self._roster.look(partial(application.prepare, self._config))
                if prepared is not None:
                    await self._end_streams(application.reload(self._config, prepared))

    def _fresh_contexts(self) -> list[tuple[_Open, TLSContext]]:
        """The certificates, read anew, all before any is taken. Self-signed ones stay."""
        return [(entry, entry.make_context()) for entry in self._open if entry.make_context]

    async def _add_databases(self, config: Config) -> None:
        """Open the databases that are not served yet: all of them, or none."""
        added = databases_added(self._started_with, config)
        self._refuse_created(added)
        opened: list[str] = []
        try:
            for database in added:
                await self._registry.add(database)
                opened.append(database.name)
        except (DatabaseUnavailable, ValueError) as error:
            for name in opened:
                await self._registry.remove(name)
            raise ConfigurationError(f'open database "{database.name}": {error}') from error
        databases = (*self._started_with.databases, *added)
        self._started_with = msgspec.structs.replace(self._started_with, databases=databases)

    def _refuse_created(self, added: Sequence[DatabaseConfig]) -> None:
        created = self._control.created if self._control is not None else frozenset()
        for database in added:
            if database.name in created:
                raise ConfigurationError(
                    f'open database "{database.name}": one of this name was created at run time: '
                    "detach it first, or choose another name"
                )

    async def drain(self, grace_s: float = DRAIN_S) -> int:
        """Stop accepting and wait at most grace_s for what is in flight; change feeds end at once.

        Gives the number of requests that were cut off.
        """
        if self._feeds is not None:
            self._feeds.close()
        listeners, self._open = self.listeners, []
        return sum(await asyncio.gather(*(listener.drain(grace_s) for listener in listeners)))

    async def stop(self, grace_s: float = DRAIN_S) -> int:
        """Drain, roll back the streams that are left, close the databases and the meta store.

        Gives the number of requests that were cut off.
        """
        if self._watch is not None:
            await self._watch.stop()
        aborted = await self.drain(grace_s)
        if self._enrolment is not None:
            await self._enrolment.close()
        if self._sessions is not None:
            await self._sessions.close()
        await self._registry.close()
        if self._store is not None:
            await self._store.close()
        return aborted


@dataclass(frozen=True, slots=True)
class _Open:
    """An open listener.

    make_context: builds its TLS context from the files as they are now; None: it has no TLS. files:
    those that it reads.
    """

    listener: Listener
    make_context: Callable[[], TLSContext] | None
    files: WatchedFiles


def _context_maker(listener: ListenerConfig, config: Config) -> Callable[[], TLSContext] | None:
    """What builds the TLS context of a listener; None where its transport has none."""
    if listener.transport not in _TLS_TRANSPORTS:
        return None
    profile = config.tls[listener.tls or ""]
    self_signed: Callable[..., TLSContext] = self_signed_quic_context
    from_files: Callable[..., TLSContext] = quic_context
    if listener.transport != "h3":  # QUIC has no TLS before 1.3
        self_signed = partial(self_signed_context, min_version=profile.min_version)
        from_files = partial(server_context, min_version=profile.min_version)
    client_ca = profile.client_ca or None
    client_auth = _client_auth(listener, profile)
    if profile.mode == "self_signed":
        context = self_signed(hosts=profile.hosts, client_ca=client_ca, client_auth=client_auth)
        return lambda: context  # its certificate lives as long as the listener
    if profile.mode != "files":
        raise ConfigurationError(
            f"tls mode {profile.mode!r} is not served by this version: use files or self_signed"
        )
    return partial(
        from_files,
        cert=profile.cert,
        key=profile.key,
        client_ca=client_ca,
        client_auth=client_auth,
    )


def _client_auth(listener: ListenerConfig, profile: TLSProfile) -> ClientAuth:
    """Source: protocol/auth.md, mTLS (the table)."""
    if not profile.client_ca:
        return ClientAuth.NONE
    return ClientAuth.REQUIRED if set(listener.auth) == {"mtls"} else ClientAuth.OPTIONAL


def _caps(config: Config) -> Caps:
    limits, logs = config.limits, config.logging
    return Caps(
        limits.max_rows,
        limits.max_result_bytes,
        limits.statement_timeout_s,
        slow_after_s=logs.slow_threshold_s if logs.slow_threshold_s > 0 else math.inf,
        logs_values=logs.expand_params,
    )


def _feeds(config: Config) -> Feeds | None:
    feed = config.changefeed
    if not feed.enabled:
        return None
    return Feeds(buffer=feed.buffer, max_subscribers=feed.max_subscribers)


def _sessions(config: Config) -> Sessions:
    return Sessions(
        tx_idle_timeout_s=config.limits.tx_idle_timeout_s,
        max_tx_lifetime_s=config.limits.max_tx_lifetime_s,
        max_sessions_per_db=config.limits.max_sessions_per_db,
    )


def serve(config_path: str | os.PathLike[str]) -> int:
    """Serve the configuration of a file until SIGTERM or SIGINT; the exit code.

    Prints `listening name=... transport=... address=...` for each listener and then `ready` on
    standard error. 0: ended by a signal, after a drain of at most DRAIN_S (a second signal ends the
    process at once). 1: the configuration is wrong, each problem on its own line, or the server
    could not start. SIGHUP reloads the file. Sets the process's umask to 077, so that the files
    that it makes are its owner's alone.
    Source: protocol/transports.md, Shutdown; protocol/config.md.
    """
    os.umask(_OWNER_ONLY)
    try:
        loaded = load_config(config_path)
    except ConfigError as exc:
        for problem in exc.problems:
            _say(f"quicsql: load config: {escaped(problem)}")
        return 1
    configure_logging(loaded.config.logging.format)
    return asyncio.run(_Process(config_path, loaded).run())


class _Process:
    """A server and the signals that steer it."""

    def __init__(self, path: str | os.PathLike[str], loaded: LoadedConfig) -> None:
        self._path = path
        self._loaded = loaded
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Event()

    async def run(self) -> int:
        for warning in self._loaded.warnings:
            _log.warning("%s", warning)
        server = Server(self._loaded.config)
        try:
            await server.start()
        except ConfigurationError as exc:
            _log.error("quicsql: start: %s", exc)
            return 1
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(ending, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reloading.set)
        for listener in server.listeners:
            place = f"transport={listener.transport} address={listener.address}"
            _say(f"listening name={escaped(listener.name)} {escaped(place)}")
        _say("ready")
        await self._steer(server)
        return 0

    def _stop(self) -> None:
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(ending)  # a second one ends the process in the default way
        self._stopping.set()

    async def _steer(self, server: Server) -> None:
        reloads = asyncio.create_task(self._reload_when_told(server))
        try:
            await self._stopping.wait()
            _log.info("draining for at most %g s", DRAIN_S)
            aborted = await server.stop()
            _log.info("stopped, %d requests cut off", aborted)
        finally:
            reloads.cancel()

    async def _reload_when_told(self, server: Server) -> None:
        while True:
            await self._reloading.wait()
            self._reloading.clear()
            try:
                await self._reload(server)
            except Exception:  # whatever is wrong with a reload, the server that runs goes on
                _log.exception("reload failed, the running configuration stays")

    async def _reload(self, server: Server) -> None:
        try:
            loaded = await asyncio.to_thread(load_config, self._path)
            changes = await server.reload(loaded.config)
        except ConfigError as exc:
            for problem in exc.problems:
                _log.error("reload refused, the running configuration stays: %s", problem)
            return
        except ConfigurationError as exc:
            _log.error("reload refused, the running configuration stays: %s", exc)
            return
        for warning in loaded.warnings:
            _log.warning("%s", warning)
        for change in changes.applied:
            _log.info("reloaded: %s", change)
        for key in changes.needs_restart:
            _log.warning("changed in the file but needs a restart: %s", key)
        _log.info("reload done, %d changes", len(changes.applied))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
