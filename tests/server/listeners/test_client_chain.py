"""The verdict on clients' certificates, where aioquic gives none."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from quicsql_client.pki import CertificateAuthority
from quicsql_client.server.listeners import QUICContext
from quicsql_client.server.listeners.client_chain import (
    MAX_INTERMEDIATES,
    Admission,
    Alert,
    CertificateRefused,
)

from .made_certificates import ANY, CLIENT, SERVER, Made, ec_key, make


def authority(**traits: Any) -> Made:
    return make("client CA", **{"is_ca": True, **traits})


def admission(*anchors: x509.Certificate, is_required: bool = True) -> Admission:
    return Admission(QUICContext(CA.certificate, (), SERVER_KEY, anchors, is_required))


def verdict(anchors: list[Made], leaf: Made, *intermediates: Made) -> Alert | None:
    """None: accepted."""
    judge = admission(*(anchor.certificate for anchor in anchors))
    chain = [one.certificate for one in intermediates]
    try:
        assert judge.judge(leaf.certificate, chain) is leaf.certificate
    except CertificateRefused as refused:
        return refused.alert
    return None


SERVER_KEY = ec.generate_private_key(ec.SECP256R1())
CA = authority()
OTHER = make("other CA", is_ca=True)
NAMESAKE = authority()  # the same name, another key
MIDDLE = CA.issue("middle", is_ca=True)
SIGNS = ("digital_signature",)


@pytest.mark.parametrize(
    ("leaf", "alert"),
    [
        (CA.issue(), None),  # CN only, no extension at all
        (CA.issue(is_ca=False, uses=[CLIENT], key_usage=SIGNS), None),
        (CA.issue(uses=[SERVER, CLIENT]), None),
        (CA.issue(key=rsa.generate_private_key(65537, 2048)), None),
        (CA.issue(key=ec.generate_private_key(ec.SECP384R1())), None),
        (CA.issue(key=ed25519.Ed25519PrivateKey.generate()), None),
        (CA.issue(days=(-3, -1)), Alert.CERTIFICATE_EXPIRED),
        (CA.issue(days=(1, 3)), Alert.BAD_CERTIFICATE),
        (CA.issue(uses=[SERVER]), Alert.UNSUPPORTED_CERTIFICATE),
        (CA.issue(uses=[ANY]), Alert.UNSUPPORTED_CERTIFICATE),
        (CA.issue(key_usage=("key_encipherment",)), Alert.UNSUPPORTED_CERTIFICATE),
        (CA.issue(key=rsa.generate_private_key(65537, 1024)), Alert.BAD_CERTIFICATE),
        (CA.issue(has_unknown_critical=True), Alert.UNKNOWN_CA),
        (OTHER.issue(), Alert.UNKNOWN_CA),
        (NAMESAKE.issue(), Alert.UNKNOWN_CA),
        (make("analyst"), Alert.UNKNOWN_CA),  # self-signed
        (make("client CA", is_ca=True), Alert.UNKNOWN_CA),
    ],
)
def test_leaves(leaf: Made, alert: Alert | None) -> None:
    assert verdict([CA], leaf) == alert


@pytest.mark.parametrize(
    ("traits", "alert"),
    [
        ({"key_usage": ("key_cert_sign",), "path_length": 0}, None),
        ({"uses": [CLIENT]}, None),
        ({"uses": [ANY]}, None),
        ({"key": rsa.generate_private_key(65537, 2048)}, None),
        ({"key": ed25519.Ed25519PrivateKey.generate()}, None),
        ({"key": rsa.generate_private_key(65537, 1024)}, Alert.BAD_CERTIFICATE),
        ({"is_ca": None}, Alert.UNKNOWN_CA),  # no basicConstraints
        ({"is_ca": False}, Alert.UNKNOWN_CA),
        ({"key_usage": SIGNS}, Alert.UNKNOWN_CA),
        ({"uses": [SERVER]}, Alert.UNKNOWN_CA),
        ({"has_unknown_critical": True}, Alert.UNKNOWN_CA),
        ({"days": (-3, -0.5)}, Alert.CERTIFICATE_EXPIRED),
    ],
)
def test_authorities(traits: dict[str, Any], alert: Alert | None) -> None:
    issuer = authority(**traits)
    assert verdict([issuer], issuer.issue()) == alert


def test_every_certificate_of_the_bundle_is_an_anchor() -> None:
    assert verdict([OTHER, CA], CA.issue()) is None
    assert verdict([OTHER, CA], OTHER.issue()) is None
    assert verdict([MIDDLE], MIDDLE.issue()) is None  # an intermediate, without its root
    old, new = authority(names_its_key=True), authority(names_its_key=True)  # as in a rotation
    assert verdict([old, new], old.issue(names_its_key=True)) is None
    assert verdict([old, new], new.issue(names_its_key=True)) is None


def test_intermediates_that_the_client_sends() -> None:
    leaf = MIDDLE.issue()
    assert verdict([CA], leaf) is Alert.UNKNOWN_CA
    assert verdict([CA], leaf, MIDDLE) is None
    assert verdict([CA], leaf, OTHER, MIDDLE) is None  # in any order, with others
    assert verdict([OTHER], leaf, MIDDLE) is Alert.UNKNOWN_CA
    assert verdict([OTHER], leaf, MIDDLE, CA) is Alert.UNKNOWN_CA  # a root that is sent is none
    narrow = authority(path_length=0)
    middle = narrow.issue("middle", is_ca=True)
    assert verdict([narrow], middle.issue(), middle) is Alert.UNKNOWN_CA


def test_a_leaf_cannot_issue() -> None:
    for traits in ({"is_ca": False}, {}):
        leaf = CA.issue("leaf", **traits)
        assert verdict([CA], leaf.issue("admin"), leaf) is Alert.UNKNOWN_CA


def test_long_chains_and_loops_cost_little() -> None:
    key = ec_key()
    loop = [make("loop", key=key, is_ca=True) for _ in range(MAX_INTERMEDIATES)]
    leaf = make("analyst", loop[0])
    start = time.process_time()
    assert verdict([CA], leaf, *loop) is Alert.UNKNOWN_CA
    assert verdict([CA], leaf, *loop, *loop) is Alert.BAD_CERTIFICATE
    assert time.process_time() - start < 1  # measured: a millisecond
    chain = [CA]
    for number in range(MAX_INTERMEDIATES):
        chain.append(chain[-1].issue(f"level {number}", is_ca=True))
    assert verdict([CA], chain[-1].issue(), *chain[1:]) is None


def test_certificates_of_this_package_are_accepted() -> None:
    made = CertificateAuthority.create("client CA")
    leaf = x509.load_pem_x509_certificate(made.issue_client("analyst").certificate_pem)
    judge = admission(made.certificate)
    assert judge.judge(leaf, []) is leaf
    server = made.issue_server(["localhost"]).certificate_pem
    with pytest.raises(CertificateRefused) as refused:
        judge.judge(x509.load_pem_x509_certificate(server), [])
    assert refused.value.alert is Alert.UNSUPPORTED_CERTIFICATE


class OpenSSL:
    """Certificates by the openssl command, in a folder."""

    def __init__(self, folder: Path, key_options: str) -> None:
        self._folder = folder
        for name in ("ca", "leaf"):
            self._run(f"genpkey {key_options} -out {name}.key")
        self._run("req -x509 -new -key ca.key -days 2 -subj /CN=client-ca -out ca.crt")
        self._run("req -new -key leaf.key -subj /CN=analyst -out leaf.csr")
        (folder / "client.ext").write_text("extendedKeyUsage = clientAuth\n")
        self.judge = admission(self._load("ca"))

    def _run(self, command: str) -> None:
        arguments = ["openssl", *command.split()]
        subprocess.run(arguments, cwd=self._folder, check=True, capture_output=True)

    def _load(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self._folder / f"{name}.crt").read_bytes())

    def issue(self, options: str = "") -> x509.Certificate:
        pair = "-in leaf.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -out leaf.crt"
        self._run(f"x509 -req {pair} {options}")
        return self._load("leaf")


EC, EDWARDS = "-algorithm EC -pkeyopt ec_paramgen_curve:prime256v1", "-algorithm ed25519"
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs the openssl command"
)


@needs_openssl
@pytest.mark.parametrize("key_options", [EC, EDWARDS])
@pytest.mark.parametrize("options", ["-extfile client.ext", ""])  # without any it is X.509 v1
def test_certificates_of_the_openssl_command(
    tmp_path: Path, key_options: str, options: str
) -> None:
    made = OpenSSL(tmp_path, key_options)
    leaf = made.issue(options)
    assert made.judge.judge(leaf, []) is leaf


@needs_openssl
def test_a_signature_of_sha1_is_refused(tmp_path: Path) -> None:
    made = OpenSSL(tmp_path, EC)
    with pytest.raises(CertificateRefused, match="bad certificate: signed with sha1"):
        made.judge.judge(made.issue("-sha1"), [])


def test_who_needs_no_certificate() -> None:
    stranger = OTHER.issue().certificate
    assert admission().judge(stranger, []) is None  # never asked for, never looked at
    assert admission().judge(None, []) is None
    optional = admission(CA.certificate, is_required=False)
    assert optional.judge(None, []) is None
    with pytest.raises(CertificateRefused, match="unknown ca: unable to get local issuer"):
        optional.judge(stranger, [])
    with pytest.raises(CertificateRefused, match="certificate required") as refused:
        admission(CA.certificate).judge(None, [])
    assert refused.value.alert is Alert.CERTIFICATE_REQUIRED


# The TCP listeners' judge is OpenSSL. Where both know a case, they must agree.


def _openssl_verdict(anchors: list[Made], leaf: Made, folder: Path, *more: Made) -> str | None:
    """What OpenSSL's alert says of a handshake in memory; None: accepted."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_leaf = CA.issue("server")
    server.load_cert_chain(*server_leaf.write(folder))
    server.load_verify_locations(cadata=b"".join(anchor.pem for anchor in anchors).decode())
    server.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.load_cert_chain(*leaf.write(folder, *more))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (server.wrap_bio(up, down, server_side=True), client.wrap_bio(down, up))
    for _ in range(4):
        for end in reversed(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                return str(error.reason)
    return None


@pytest.mark.parametrize(
    "case",
    [
        lambda: ([CA], CA.issue()),
        lambda: ([CA], CA.issue(uses=[SERVER])),
        lambda: ([CA], CA.issue(uses=[ANY])),
        lambda: ([CA], CA.issue(key_usage=("key_encipherment",))),
        lambda: ([CA], CA.issue(days=(-3, -1))),
        lambda: ([CA], CA.issue(days=(1, 3))),
        lambda: ([CA], OTHER.issue()),
        lambda: ([CA], NAMESAKE.issue()),
        lambda: ([CA], MIDDLE.issue(), MIDDLE),
        lambda: ([MIDDLE], MIDDLE.issue()),
        lambda: ([OTHER], MIDDLE.issue(), MIDDLE, CA),
        lambda: ([CA], CA.issue(key=rsa.generate_private_key(65537, 1024))),
    ],
)
def test_openssl_agrees(case: Callable[[], tuple[Any, ...]], tmp_path: Path) -> None:
    anchors, leaf, *more = case()
    ours = verdict(anchors, leaf, *more)
    try:
        theirs = _openssl_verdict(anchors, leaf, tmp_path, *more)
    except ssl.SSLError as error:  # OpenSSL would not even let a client load it
        theirs = str(error.reason)
    assert (ours is None) == (theirs is None), (ours, theirs)
