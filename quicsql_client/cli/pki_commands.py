"""What the `pki` commands do: each takes the parsed arguments and gives an exit code."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from quicsql_client.errors import ConfigurationError
from quicsql_client.pki import (
    CertificateAuthority,
    CertificateFacts,
    IssuedCertificate,
    WrittenPair,
    inspect_certificates,
    spki_pin,
)
from quicsql_client.pki.files import pair_paths, refuse_existing


def _say_written(pair: WrittenPair, pin: str) -> None:
    print(f"wrote {pair.certificate}\nwrote {pair.key} (mode 0600)\npin   {pin}")


def _create_authority(options: argparse.Namespace) -> int:
    authority = CertificateAuthority.create(options.name, options.days)
    pair = authority.write(
        options.out,
        options.file or _file_name(options.name),
        password=options.password,
        force=options.force,
    )
    _say_written(pair, authority.pin)
    return 0


def _file_name(name: str) -> str:
    """ "quicsql client CA" -> "client-ca", the name that the guide gives that file."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower().removeprefix("quicsql ")).strip("-") or "ca"


def _load_authority(options: argparse.Namespace) -> CertificateAuthority:
    return CertificateAuthority.load(Path(options.ca), Path(options.ca_key), options.password)


def _issue_server(options: argparse.Namespace) -> int:
    leaf = _load_authority(options).issue_server(options.san, options.days)
    _say_written(leaf.write(options.out, options.file, force=options.force), leaf.pin)
    return 0


def _issue_client(options: argparse.Namespace) -> int:
    leaf = _load_authority(options).issue_client(options.cn, options.days)
    name = options.file or options.cn
    _say_written(leaf.write(options.out, name, force=options.force), leaf.pin)
    return 0


def _init(options: argparse.Namespace) -> int:
    """All of steps 1 to 3; nothing is written unless everything could be made."""
    server_ca = CertificateAuthority.create("quicsql server CA", options.ca_days)
    client_ca = CertificateAuthority.create("quicsql client CA", options.ca_days)
    leaves = {"server": server_ca.issue_server(options.san, options.server_days)}
    for name in dict.fromkeys(options.cn):
        pair_paths(options.out, name)
        if name in ("server", "server-ca", "client-ca"):
            raise _taken(name)
        leaves[name] = client_ca.issue_client(name, options.client_days)
    authorities = {"server-ca": server_ca, "client-ca": client_ca}
    if not options.force:
        for name in (*authorities, *leaves):
            refuse_existing(pair_paths(options.out, name))
    for name, authority in authorities.items():
        authority.write(options.out, name, password=options.password, force=options.force)
    for name, leaf in leaves.items():
        leaf.write(options.out, name, force=options.force)
    _say_next_step(Path(options.out), leaves, options.san[0])
    return 0


def _taken(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"client {name!r}: init writes another file of that name: issue it with `pki client --file`"
    )


def _say_next_step(folder: Path, leaves: dict[str, IssuedCertificate], host: str) -> None:
    names = ["server-ca", "client-ca", *leaves]
    print(f"wrote to {folder}: " + ", ".join(f"{name}.crt {name}.key" for name in names))
    print("pins (spki_sha256):")
    for name, leaf in leaves.items():
        print(f"  {name}: {leaf.pin}")
    print(
        "next: put the server's files into quicsql.yaml, and a principal for each client:\n"
        f"  tls: {{ prod: {{ mode: files, cert: {folder / 'server.crt'}, "
        f"key: {folder / 'server.key'}, client_ca: {folder / 'client-ca.crt'}, "
        'min_version: "1.3" } }'
    )
    for name in list(leaves)[1:]:
        print(f"  - {{ name: {name}, methods: [ {{ mtls: {{ subject_cn: {name} }} }} ] }}")
        print(
            f"  client: Client.h2tls({_address(host)!r}, "
            f"with_root_ca({str(folder / 'server-ca.crt')!r}), with_client_cert("
            f"{str(folder / f'{name}.crt')!r}, {str(folder / f'{name}.key')!r}))"
        )
    print("move server-ca.key and client-ca.key to a safe place: who holds them can be anyone")


def _address(host: str) -> str:
    return f"[{host.strip('[]')}]:7777" if ":" in host else f"{host}:7777"


def _show(options: argparse.Namespace) -> int:
    found = [(file, facts) for file in options.files for facts in inspect_certificates(Path(file))]
    if options.json:
        print(json.dumps([_as_json(file, facts) for file, facts in found], indent=2))
    else:
        print("\n\n".join(_as_text(file, facts) for file, facts in found))
    return 0


def _as_json(file: str, facts: CertificateFacts) -> dict[str, object]:
    times = {"not_before": facts.not_before.isoformat(), "not_after": facts.not_after.isoformat()}
    return {"file": file, **asdict(facts), **times, "days_left": round(facts.days_left(), 2)}


def _as_text(file: str, facts: CertificateFacts) -> str:
    left = facts.days_left()
    lines = {
        "file": file,
        "subject": facts.subject + (" (CA)" if facts.is_ca else ""),
        "issuer": facts.issuer,
        "names": ", ".join(facts.subject_alternative_names) or "-",
        "usages": ", ".join(facts.extended_key_usages) or "-",
        "from": f"{facts.not_before:%Y-%m-%d %H:%M} UTC",
        "until": f"{facts.not_after:%Y-%m-%d %H:%M} UTC "
        + (f"({left:.1f} days left)" if left >= 0 else f"(EXPIRED {-left:.1f} days ago)"),
        "pin": facts.pin,
    }
    return "\n".join(f"{label:8} {text}" for label, text in lines.items())


def _pin(options: argparse.Namespace) -> int:
    print(spki_pin(Path(options.file)))
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "init": _init,
    "ca": _create_authority,
    "server": _issue_server,
    "client": _issue_client,
    "show": _show,
    "pin": _pin,
}
