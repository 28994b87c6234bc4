"""Each text that the configuration's specification gives, on the smallest file that earns it:
odd-cases 140, 141, 142.
"""

from __future__ import annotations

import pytest

from tests.fix_config import FindProblems

_LISTENER = "listeners: [{name: l, address: 'x:1', %s}]\n"
_DATABASE = "databases: [{name: d, backend: memory, %s}]\n"
_FILE_DATABASE = "databases: [{name: d, backend: %s}]\n"
_PROFILE = "tls: {p: {%s}}\n"
_SESSION = "auth: {session: {%s}}\n"
_METHOD = "auth: {principals: [{name: x, methods: [%s]}]}\n"
_HASH = "0" * 64
_ENROLL = (
    "auth: {principals: [{name: a, methods: [{bearer: {token_hash: '" + _HASH + "'}}]}], "
    "enroll: {%s}}\n"
    "control_plane: {enabled: true, admins: [a]}\n"
)
_OPEN_ENROLL = _ENROLL % "enabled: true, policy: open, %s"
_PROVISION = _OPEN_ENROLL % "provision: {%s}"
_CORS = "cors: {enabled: true, %s}\n"

_STORE_WITH_KEY = (
    "auth: {principals: [{name: a}]}\ncontrol_plane: {enabled: true, admins: [a]}\n"
    "secrets: [{name: env, type: env}]\nserver: {meta_store: {key: 'env:STORE'}}"
)

# (file, the beginning of the one problem, the key it is at)
CASES = [
    # server
    (
        "server: {meta_store: {backend: x}}",
        'config: meta_store backend "x" invalid (want vault|file)',
        "server.meta_store.backend",
    ),
    (
        "server: {meta_store: {backend: file, key: plain}}",
        "config: meta_store key must be a reference",
        "server.meta_store.key",
    ),
    (
        _STORE_WITH_KEY,
        "config: meta_store key asks for an encrypted store, which this server does not have",
        "server.meta_store.key",
    ),
    (
        "auth: {principals: [{name: a}]}\ncontrol_plane: {enabled: true, admins: [a]}\n"
        "server: {data_dir: /d}\ndatabases: [{name: d, backend: file, path: x/../_meta.vault}]",
        'config: database "d" has the path of the meta store',
        "databases[0].path",
    ),
    # databases
    ("databases: [{backend: memory}]", "config: database with empty name", "databases[0].name"),
    (
        "databases: [{name: query, backend: memory}]",
        'config: database "query" has an invalid or reserved name (use letters, digits, and -._; '
        "not leading _, not a reserved or endpoint name)",
        "databases[0].name",
    ),
    (
        "databases: [{name: _x, backend: memory}]",
        'config: database "_x" has an invalid or reserved name',
        "databases[0].name",
    ),
    (
        "databases: [{name: a, backend: memory}, {name: a, backend: memory}]",
        'config: duplicate database name "a"',
        "databases[1].name",
    ),
    ("databases: [{name: a}]", 'config: database "a" missing backend', "databases[0].backend"),
    (_FILE_DATABASE % "pg", 'config: database "d" unknown backend "pg"', "databases[0].backend"),
    (
        _FILE_DATABASE % "mvcc",
        'config: database "d": this server has no backend "mvcc"',
        "databases[0].backend",
    ),
    (
        _FILE_DATABASE % "vault",
        'config: database "d": this server has no backend "vault"',
        "databases[0].backend",
    ),
    (
        _FILE_DATABASE % "file",
        'config: database "d": backend file needs a path',
        "databases[0].path",
    ),
    (
        _DATABASE % "mode: w",
        'config: database "d" invalid mode "w" (want rw|ro|rwc)',
        "databases[0].mode",
    ),
    (
        _DATABASE % "pool: {tx_lock: x}",
        'config: database "d" invalid tx_lock "x" (want deferred|immediate|exclusive)',
        "databases[0].pool.tx_lock",
    ),
    (
        _DATABASE % "pool: {max_open: -1}",
        'config: database "d" invalid pool.max_open',
        "databases[0].pool.max_open",
    ),
    (
        _DATABASE % "pragmas_preset: x",
        'config: database "d" invalid pragmas_preset "x" (want recommended)',
        "databases[0].pragmas_preset",
    ),
    (
        _DATABASE % "pragmas: {synchronous: never}",
        'config: database "d" invalid pragmas.synchronous "never" (want off|normal|full|extra',
        "databases[0].pragmas.synchronous",
    ),
    (
        _DATABASE % "pragmas: {'x; drop': 1}",
        'config: database "d" invalid pragma name "x; drop"',
        "databases[0].pragmas.x; drop",
    ),
    (
        _DATABASE % "pragmas: {busy_timeout: -1}",
        'config: database "d" invalid pragmas.busy_timeout',
        "databases[0].pragmas.busy_timeout",
    ),
    (
        _DATABASE % "vault: {compression: fast}",
        'config: database "d" has a vault block but backend is "memory"',
        "databases[0].vault",
    ),
    (
        _DATABASE % "grants: [{principal: bob, level: admin}]",
        'config: database "d" grants to unknown principal "bob"',
        "databases[0].grants[0].principal",
    ),
    (
        _DATABASE % "grants: [{principal: '*', level: ro}]",
        'config: database "d" grant has invalid level "ro"',
        "databases[0].grants[0].level",
    ),
    # listeners
    (_LISTENER % "tls: ''", 'config: listener "l" missing transport', "listeners[0].transport"),
    (
        _LISTENER % "transport: ws",
        'config: listener "l" unknown transport "ws"',
        "listeners[0].transport",
    ),
    (
        _LISTENER % "transport: h2",
        'config: listener "l" (h2) requires a tls profile',
        "listeners[0].tls",
    ),
    (
        _LISTENER % "transport: h3",
        'config: listener "l" (h3) requires a tls profile',
        "listeners[0].tls",
    ),
    (
        _LISTENER % "transport: h1, tls: x",
        'config: listener "l" references unknown tls profile "x"',
        "listeners[0].tls",
    ),
    (
        _LISTENER % "transport: h1, advertise: true",
        'config: listener "l": advertise is only valid on an h3 listener',
        "listeners[0].advertise",
    ),
    (
        _LISTENER % "transport: h1, auth: [none, m]",
        'config: listener "l" unknown auth method "m"',
        "listeners[0].auth[1]",
    ),
    (
        _LISTENER % "transport: h1, auth: [peercred]",
        'config: listener "l": peercred auth is only valid on a unix socket',
        "listeners[0].auth[0]",
    ),
    (
        _LISTENER % "transport: h1, auth: [mtls]",
        'config: listener "l": mtls auth requires a tls profile (with client_ca)',
        "listeners[0].auth[0]",
    ),
    (
        _LISTENER % "transport: h1, auth: [session]",
        'config: listener "l" accepts session auth but auth.session.enabled is false',
        "listeners[0].auth[0]",
    ),
    (
        _LISTENER % "transport: unix, socket_mode: '0689'",
        'config: listeners[0].socket_mode: invalid socket_mode "0689"',
        "listeners[0].socket_mode",
    ),
    (
        "listeners: [{name: a, transport: h1, address: '127.0.0.1:1'}, "
        "{name: b, transport: h2c, address: '127.0.0.1:1'}]",
        'config: listeners "a" and "b" both bind tcp "127.0.0.1:1" '
        "(h2/h3 may share a port, but same-family listeners may not)",
        "listeners[1].address",
    ),
    (
        "listeners: [{name: a, transport: unix, address: s}, "
        "{name: b, transport: unix, address: s}]",
        'config: listeners "a" and "b" both bind unix "s" (h2/h3 may share a port',
        "listeners[1].address",
    ),
    # TLS profiles
    (
        _PROFILE % "cert: c",
        'config: tls profile "p" missing mode (files|self_signed)',
        "tls.p.mode",
    ),
    (
        _PROFILE % "mode: qip" + _LISTENER % "transport: h2, tls: p",
        'config: listener "l": this server has no tls mode qip: ',
        "listeners[0].tls",
    ),
    (_PROFILE % "mode: x", 'config: tls profile "p" unknown mode "x"', "tls.p.mode"),
    (
        _PROFILE % "mode: files, cert: c",
        'config: tls profile "p" (files) needs cert and key',
        "tls.p.key",
    ),
    (
        _PROFILE % "mode: self_signed, min_version: 1.1",
        'config: tls profile "p" invalid min_version "1.1" (want 1.2 or 1.3)',
        "tls.p.min_version",
    ),
    (
        _PROFILE % "mode: qip, subdomain: a/b",
        'config: tls profile "p" qip subdomain "a/b" must be a DNS zone name '
        "(letters, digits, '.', '-')",
        "tls.p.subdomain",
    ),
    # session
    (
        _SESSION % "idle_ttl: -1s",
        "config: auth.session idle_ttl and max_ttl must not be negative",
        "auth.session.idle_ttl",
    ),
    (
        _SESSION % "max_ttl: -1s",
        "config: auth.session idle_ttl and max_ttl must not be negative",
        "auth.session.max_ttl",
    ),
    (
        _SESSION % "max_ttl: 1m",
        "config: auth.session.max_ttl (1m0s) must be \u2265 idle_ttl (15m0s)",
        "auth.session.max_ttl",
    ),
    (
        _SESSION % "idle_ttl: 2h, max_ttl: 1h",
        "config: auth.session.max_ttl (1h0m0s) must be \u2265 idle_ttl (2h0m0s)",
        "auth.session.max_ttl",
    ),
    # enrolment
    (
        "auth: {enroll: {enabled: true, policy: open}}\n"
        "control_plane: {enabled: false}\ndatabases: [{name: d, backend: memory, "
        "grants: [{principal: '*', level: admin}]}]",
        "config: auth.enroll.enabled requires control_plane.enabled",
        "auth.enroll.enabled",
    ),
    (
        _ENROLL % "policy: z",
        'config: auth.enroll.policy "z" invalid (want open|token)',
        "auth.enroll.policy",
    ),
    (
        _ENROLL % "enabled: true",
        "config: auth.enroll.policy token requires auth.enroll.tokens or auth.enroll.codes.enabled",
        "auth.enroll.policy",
    ),
    (
        _OPEN_ENROLL % "max_principals: -1",
        "config: auth.enroll quotas must not be negative",
        "auth.enroll.max_principals",
    ),
    (
        _OPEN_ENROLL % "rate_per_ip: -0.5",
        "config: auth.enroll quotas must not be negative",
        "auth.enroll.rate_per_ip",
    ),
    (
        _OPEN_ENROLL % "grants: [{db: _x, level: read-only}]",
        'config: auth.enroll.grants names invalid database "_x"',
        "auth.enroll.grants[0].db",
    ),
    (
        _OPEN_ENROLL % "grants: [{db: x, level: admin}]",
        'config: auth.enroll.grants level "admin" invalid '
        "(want read-only|read-write \u2014 never admin for self-enrolled principals)",
        "auth.enroll.grants[0].level",
    ),
    (
        _ENROLL % "tokens: [sesame]",
        "config: auth.enroll.tokens must be 64 hex characters",
        "auth.enroll.tokens[0]",
    ),
    (
        _PROVISION % "name_template: x",
        'config: auth.enroll.provision.name_template "x" must contain {principal} '
        "so per-account databases don't collide",
        "auth.enroll.provision.name_template",
    ),
    (
        _PROVISION % "name_template: '_{principal}'",
        'config: auth.enroll.provision.name_template "_{principal}" makes no database name',
        "auth.enroll.provision.name_template",
    ),
    (
        _PROVISION % "enabled: true, backend: file",
        "config: auth.enroll.provision.backend: files of devices need server.data_dir",
        "auth.enroll.provision.backend",
    ),
    (
        _PROVISION % "backend: x",
        'config: auth.enroll.provision.backend "x" unknown',
        "auth.enroll.provision.backend",
    ),
    (
        _PROVISION % "enabled: true",
        'config: auth.enroll.provision.backend: this server has no backend "vault"',
        "auth.enroll.provision.backend",
    ),
    (
        _PROVISION % "level: admin",
        'config: auth.enroll.provision.level "admin" invalid '
        "(want read-only|read-write \u2014 never admin)",
        "auth.enroll.provision.level",
    ),
    (
        _PROVISION % "on_revoke: x",
        'config: auth.enroll.provision.on_revoke "x" invalid (want keep|drop)',
        "auth.enroll.provision.on_revoke",
    ),
    (
        _PROVISION % "max_bytes: -1",
        "config: auth.enroll.provision.max_bytes must not be negative",
        "auth.enroll.provision.max_bytes",
    ),
    (
        _PROVISION % "max_bytes: 4095",
        "config: auth.enroll.provision.max_bytes must be 0 (no cap) or at least 4096 (one page)",
        "auth.enroll.provision.max_bytes",
    ),
    (
        _PROVISION % "backend: file, vault: {}",
        'config: auth.enroll.provision has a vault block but backend is "file"',
        "auth.enroll.provision.vault",
    ),
    (
        _PROVISION % "pragmas_preset: x",
        'config: auth.enroll.provision.pragmas_preset "x" invalid (want recommended)',
        "auth.enroll.provision.pragmas_preset",
    ),
    (
        _PROVISION % "vault: {cipher: rot13}",
        'config: auth.enroll.provision invalid vault.cipher "rot13" (want adiantum|aes-xts)',
        "auth.enroll.provision.vault.cipher",
    ),
    # principals
    (
        "auth: {principals: [{methods: []}]}",
        "config: auth principal with empty name",
        "auth.principals[0].name",
    ),
    (
        "auth: {principals: [{name: a}, {name: a}]}",
        'config: duplicate auth principal "a"',
        "auth.principals[1].name",
    ),
    (
        "auth: {principals: [{name: u_x}]}",
        'config: auth principal "u_x" uses the reserved u_ prefix '
        "(that namespace is reserved for server-assigned dynamic principals)",
        "auth.principals[0].name",
    ),
    (
        _METHOD % "{}",
        'config: principal "x": each method entry needs exactly one method name',
        "auth.principals[0].methods[0]",
    ),
    (
        _METHOD % "{mtls: {subject_cn: a}, peercred: {uid: 1}}",
        'config: principal "x": each method entry needs exactly one method name',
        "auth.principals[0].methods[0]",
    ),
    (
        _METHOD % "{session: {}}",
        'config: principal "x": unknown credential method "session"',
        "auth.principals[0].methods[0].session",
    ),
    # credentials, which upstream finds when it starts
    (
        _METHOD % "{bearer: {}}",
        'init auth: auth: principal "x" bearer: missing token_hash',
        "auth.principals[0].methods[0].bearer.token_hash",
    ),
    (
        _METHOD % "bearer: ",
        'init auth: auth: principal "x" bearer: missing token_hash',
        "auth.principals[0].methods[0].bearer.token_hash",
    ),
    (
        _METHOD % "{bearer: {token_hash: '12'}}",
        'config: principal "x" bearer: token_hash must be 64 hex characters',
        "auth.principals[0].methods[0].bearer.token_hash",
    ),
    (
        _METHOD % "{bearer: {token_hash: 'undeclared:name'}}",
        'config: principal "x" bearer: token_hash must be 64 hex characters',
        "auth.principals[0].methods[0].bearer.token_hash",
    ),
    (
        _METHOD % f"{{password: {{password_hash: '$2b$06${'a' * 53}'}}}}",
        'init auth: auth: principal "x" password: missing user',
        "auth.principals[0].methods[0].password.user",
    ),
    (
        _METHOD % "{password: {user: u}}",
        'init auth: auth: principal "x" password: missing password_hash',
        "auth.principals[0].methods[0].password.password_hash",
    ),
    (
        _METHOD % "{password: {user: u, password_hash: hunter2}}",
        'config: principal "x" password: password_hash must be a bcrypt hash',
        "auth.principals[0].methods[0].password.password_hash",
    ),
    (
        _METHOD % "{mtls: {}}",
        'init auth: auth: principal "x" mtls: missing subject_cn or spki_sha256',
        "auth.principals[0].methods[0].mtls",
    ),
    (
        _METHOD % "{mtls: {spki_sha256: '3b0c\u2026'}}",
        'config: principal "x" mtls: spki_sha256 must be 64 hex characters',
        "auth.principals[0].methods[0].mtls.spki_sha256",
    ),
    (
        _METHOD % "{keyring: {}}",
        'init auth: auth: principal "x" keyring: missing ed25519',
        "auth.principals[0].methods[0].keyring.ed25519",
    ),
    (
        _METHOD % "{keyring: {ed25519: ssh-rsa AAAA}}",
        'init auth: auth: principal "x" keyring: auth: parse authorized key: want an ssh-ed25519',
        "auth.principals[0].methods[0].keyring.ed25519",
    ),
    (
        _METHOD % "{keyring: {ed25519: ssh-ed25519}}",
        'init auth: auth: principal "x" keyring: auth: parse authorized key: the base64 text of',
        "auth.principals[0].methods[0].keyring.ed25519",
    ),
    (
        _METHOD % "{keyring: {ed25519: ssh-ed25519 !!}}",
        'init auth: auth: principal "x" keyring: auth: parse authorized key: the text after',
        "auth.principals[0].methods[0].keyring.ed25519",
    ),
    (
        _METHOD % "{keyring: {ed25519: ssh-ed25519 AAAA}}",
        'init auth: auth: principal "x" keyring: auth: parse authorized key: the base64 text is',
        "auth.principals[0].methods[0].keyring.ed25519",
    ),
    (
        _METHOD % "{peercred: {}}",
        'init auth: auth: principal "x" peercred: missing uid',
        "auth.principals[0].methods[0].peercred.uid",
    ),
    (
        _METHOD % "{peercred: {uid: alice}}",
        'init auth: auth: principal "x" peercred: missing uid',
        "auth.principals[0].methods[0].peercred.uid",
    ),
    # control plane, cors, changefeed, logging, secrets
    (
        "control_plane: {enabled: true}",
        "config: control_plane.enabled requires at least one control_plane.admins entry",
        "control_plane.admins",
    ),
    (
        "control_plane: {admins: [x]}",
        'config: control_plane admin "x" is not a configured principal',
        "control_plane.admins[0]",
    ),
    (
        _CORS % "",
        'config: cors.origins "*" (the default when origins is empty) '
        "with no authentication configured",
        "cors.origins[0]",
    ),
    (
        _CORS % "origins: ['null']",
        'config: cors.origins may not contain "null" '
        "(it would match any sandboxed or file:// page)",
        "cors.origins[0]",
    ),
    (
        _CORS % "origins: ['https://a/x']",
        'config: cors.origins entry "https://a/x" invalid '
        '(want "*" or scheme://host[:port], no path)',
        "cors.origins[0]",
    ),
    (
        _CORS % "origins: ['https://*.a']",
        'config: cors.origins entry "https://*.a" invalid',
        "cors.origins[0]",
    ),
    (
        _CORS % "origins: ['https://a'], max_age: -1s",
        "config: cors.max_age must not be negative",
        "cors.max_age",
    ),
    (
        _CORS % "origins: ['https://a'], allow_headers: [X-A, 'X-B, X-C', \"a\\r\\nb\"]",
        'config: cors.allow_headers entry "a\\r\\nb" is no name of a header',
        "cors.allow_headers[2]",
    ),
    (
        _CORS % "origins: ['https://a'], expose_headers: ['']",
        'config: cors.expose_headers entry "" is no name of a header',
        "cors.expose_headers[0]",
    ),
    (
        "changefeed: {buffer: -1}",
        "config: changefeed buffer and max_subscribers must not be negative",
        "changefeed.buffer",
    ),
    (
        "changefeed: {max_subscribers: -1}",
        "config: changefeed buffer and max_subscribers must not be negative",
        "changefeed.max_subscribers",
    ),
    (
        "logging: {format: xml}",
        'config: logging.format "xml" invalid (want text|json)',
        "logging.format",
    ),
    (
        "secrets: [{type: env}]",
        "init secrets: secret: source with empty name",
        "secrets[0].name",
    ),
    (
        "secrets: [{name: a, type: env}, {name: a, type: file}]",
        'config: duplicate secret source "a"',
        "secrets[1].name",
    ),
    # types and units
    (
        "limits: {max_rows: 8MiB}",
        'config: limits.max_rows: want a whole number, not "8MiB"; sizes are plain bytes',
        "limits.max_rows",
    ),
    (
        "limits: {max_rows: '5'}",
        'config: limits.max_rows: want a whole number without quotes, not "5"',
        "limits.max_rows",
    ),
    (
        "limits: {statement_timeout: 30}",
        'config: limits.statement_timeout: "30" is not a duration; write a number with a unit '
        '(ns, us, ms, s, m or h), such as "30s"',
        "limits.statement_timeout",
    ),
    (
        "limits: {statement_timeout: 0}",
        'config: limits.statement_timeout: "0" is not a duration',
        "limits.statement_timeout",
    ),
    (
        "limits: {statement_timeout: 1d}",
        'config: limits.statement_timeout: "1d" is not a duration',
        "limits.statement_timeout",
    ),
    (
        "limits: {rate: {per_principal_rps: .inf}}",
        'config: limits.rate.per_principal_rps: want a number, not ".inf"',
        "limits.rate.per_principal_rps",
    ),
    (
        "cors: {enabled: maybe}",
        'config: cors.enabled: want true or false, not "maybe"',
        "cors.enabled",
    ),
    ("listeners: {}", "config: listeners: want a list, not a mapping", "listeners"),
    ("limits: [1]", "config: limits: want a mapping, not a list", "limits"),
    (
        "server: {data_dir: [x]}",
        "config: server.data_dir: want text, not a list",
        "server.data_dir",
    ),
    ("tls: {p: files}", "config: tls.p: want a mapping, not a single value", "tls.p"),
    # unknown keys
    (
        "lisetners: []",
        'config: unknown key "lisetners", did you mean "listeners"?',
        "lisetners",
    ),
    ("limits: {zzz: 1}", 'config: unknown key "zzz"', "limits.zzz"),
    (
        "auth: {session: {idle_tll: 1s}}",
        'config: unknown key "idle_tll", did you mean "idle_ttl"?',
        "auth.session.idle_tll",
    ),
    (
        _DATABASE % "pool: {max_opn: 1}",
        'config: unknown key "max_opn", did you mean "max_open"?',
        "databases[0].pool.max_opn",
    ),
]


def _case_id(case: tuple[str, str, str]) -> str:
    return case[1][:60]


@pytest.mark.parametrize(("text", "problem", "key"), CASES, ids=map(_case_id, CASES))
def test_a_broken_file_gives_its_one_problem_and_where_it_is(
    find_problems: FindProblems, text: str, problem: str, key: str
) -> None:
    problems = find_problems(text)
    assert len(problems) == 1, problems
    assert problems[0].startswith(problem)
    assert problems[0].endswith(f", {key})")
    assert "(quicsql.yaml:" in problems[0]


@pytest.mark.parametrize(
    ("vault", "problem"),
    [
        ("compression: zip", 'config: database "d" invalid vault.compression "zip"'),
        ("cipher: x", 'config: database "d" invalid vault.cipher "x" (want adiantum|aes-xts)'),
        ("anchor: {type: z}", 'config: database "d" invalid vault.anchor.type "z"'),
        (
            "key: 'a:b', identities: ['c:d']",
            'config: database "d" vault sets both key (raw-key mode) '
            "and identities (recipient mode)",
        ),
        ("chipher: x", 'config: unknown key "chipher", did you mean "cipher"?'),
    ],
)
def test_a_vault_block_is_checked_though_the_backend_is_refused(
    find_problems: FindProblems, vault: str, problem: str
) -> None:
    problems = find_problems(f"databases: [{{name: d, backend: vault, vault: {{{vault}}}}}]")
    assert len(problems) == 2
    assert any(text.startswith(problem) for text in problems)
    assert any('this server has no backend "vault"' in text for text in problems)


def test_enrolment_in_open_mode_needs_explicit_auth(find_problems: FindProblems) -> None:
    problems = find_problems("auth: {enroll: {enabled: true, policy: open}}")
    assert [text.partition(":")[2].partition("(")[0].strip() for text in problems] == [
        "auth.enroll.enabled requires explicit auth",
        "auth.enroll.enabled requires control_plane.enabled",
    ]
