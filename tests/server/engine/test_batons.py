"""Batons: shape, signature, and which spellings are the same."""

from __future__ import annotations

import base64
import secrets

import pytest

from quicsql_client.server.batons import ID_BYTES, BatonSigner

SESSION_ID = bytes(range(ID_BYTES))


@pytest.mark.parametrize("generation", [0, 1, 2**64 - 1])
def test_a_baton_names_its_session_and_generation(generation: int) -> None:
    signer = BatonSigner()
    baton = signer.sign(SESSION_ID, generation)
    assert len(baton) == 75
    assert len(base64.urlsafe_b64decode(baton + "=")) == 56
    assert signer.read(baton) == (SESSION_ID, generation)


def test_line_ends_and_unused_bits_are_ignored() -> None:
    signer = BatonSigner()
    baton = signer.sign(SESSION_ID, 7)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    place = alphabet.index(baton[-1])
    for bits in range(4):
        assert signer.read(baton[:-1] + alphabet[place // 4 * 4 + bits]) == (SESSION_ID, 7)
    assert signer.read(baton[:20] + "\r\n" + baton[20:]) == (SESSION_ID, 7)


def test_every_changed_character_is_noticed() -> None:
    signer = BatonSigner()
    baton = signer.sign(SESSION_ID, 7)
    for place in range(len(baton) - 1):
        other = "A" if baton[place] != "A" else "B"
        assert signer.read(baton[:place] + other + baton[place + 1 :]) is None


@pytest.mark.parametrize(
    "text",
    ["", "forged.baton.value", "A" * 75, "A" * 74, "A" * 76, "é" * 75, "A" * 1_000_000, "A=" * 37],
)
def test_what_is_no_baton(text: str) -> None:
    assert BatonSigner().read(text) is None


def test_another_process_has_another_key() -> None:
    baton = BatonSigner().sign(secrets.token_bytes(ID_BYTES), 1)
    assert BatonSigner().read(baton) is None


def test_the_standard_alphabet_is_not_ours() -> None:
    signer = BatonSigner()
    baton = next(
        one for one in (signer.sign(SESSION_ID, n) for n in range(1000)) if "-" in one or "_" in one
    )
    assert signer.read(baton.replace("-", "+").replace("_", "/")) is None
