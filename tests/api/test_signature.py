from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from harness import Bits, Classes, Real, Signature, Tokens
from harness.errors import PluginError

NUMBERS = Signature(input=Real(3), output=Bits(88), length=20, readout="each")
WORDS = Signature(input=Tokens(1000, 32), output=Classes(1000), length=40, readout="each", tied=True)


def test_in_features_are_the_channels_or_the_embedding() -> None:
    assert NUMBERS.in_features == 3
    assert WORDS.in_features == 32


@pytest.mark.parametrize(("output", "size"), [(Real(2), 2), (Classes(10), 10), (Bits(88), 88)])
def test_out_features_are_the_size_of_the_output(output: Real | Classes | Bits, size: int) -> None:
    assert Signature(input=Real(1), output=output, length=5, readout="last").out_features == size


def test_with_embedding_changes_only_the_embedding() -> None:
    assert WORDS.with_embedding(600) == Signature(
        input=Tokens(1000, 600), output=Classes(1000), length=40, readout="each", tied=True
    )
    assert WORDS.in_features == 32


def test_with_embedding_returns_itself_if_nothing_changes() -> None:
    assert WORDS.with_embedding(None) is WORDS
    assert NUMBERS.with_embedding(600) is NUMBERS


def test_signature_is_a_value() -> None:
    assert hash(NUMBERS) == hash(Signature(input=Real(3), output=Bits(88), length=20, readout="each"))
    with pytest.raises(FrozenInstanceError, match="length"):
        NUMBERS.length = 3  # type: ignore[misc]


def test_a_setting_may_tie_or_untie_the_decoder() -> None:
    untied = WORDS.with_embedding(None, tied=False)
    assert (untied.tied, untied.input) == (False, WORDS.input)
    assert WORDS.with_embedding(600, tied=None).tied
    assert NUMBERS.with_embedding(None, tied=True) is NUMBERS


def test_invalid_signature_is_rejected_with_the_given_value() -> None:
    with pytest.raises(PluginError, match="readout must be 'last' or 'each', got 'every'"):
        Signature(Real(1), Real(1), length=5, readout="every")  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="length must be 1 step or more, got 0"):
        Signature(Real(1), Real(1), length=0, readout="each")
    with pytest.raises(PluginError, match=r"needs Tokens as input and Classes as output, got Tokens.* and Bits"):
        Signature(Tokens(3, 2), Bits(3), length=5, readout="each", tied=True)
