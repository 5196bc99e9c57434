"""Numbers in tables."""

from __future__ import annotations

import math

import pytest

from harness.analysis.statistics import Interval
from harness.report.document import Datum
from harness.report.formatting import (
    mean_interval,
    number,
    of_count,
    of_number,
    of_percent,
    of_size,
    share_interval,
    short,
    size,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (97.1234, "97.12"),
        (100.0, "100.0"),
        (1234.4, "1234"),
        (9999.9, "10000"),
        (123456.0, "123456"),
        (12345678.0, "1.235e+07"),
        (0.00123456, "0.001235"),
        (3.5e-5, "3.500e-05"),
        (-0.5, "-0.5000"),
        (math.inf, "inf"),
    ],
)
def test_number_has_four_significant_digits(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (5 * 2**30, "5.00 GiB"),
        (2**42, "4096.00 GiB"),
    ],
)
def test_size_has_the_largest_unit_that_keeps_it_above_one(value: float | None, text: str) -> None:
    assert size(value) == text


def test_short_text_keeps_its_ends_within_the_limit() -> None:
    assert short("abcdef", 6) == "abcdef"
    assert short("abcdefghij", 7) == "abc…hij"
    assert all(len(short("x" * 50, limit)) == limit for limit in range(3, 51))


def test_interval_follows_the_mean_in_brackets() -> None:
    assert mean_interval(0.5, None) == "0.5000"
    assert mean_interval(0.5, Interval(0.25, 1.0, 0.95)) == "0.5000 [0.2500, 1.000]"
    assert share_interval(0.5, Interval(0.25, 1.0, 0.95)) == "0.50 [0.25, 1.00]"


def test_missing_numbers_are_dashes_that_sort_last() -> None:
    assert {of_number(None), of_count(None), of_percent(None), of_size(None)} == {Datum("–", None)}
    assert (of_count(12345), of_percent(-1.234)) == (Datum("12,345", 12345), Datum("-1.23 %", -1.234))
