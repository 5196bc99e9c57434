"""Documents as HTML."""

from __future__ import annotations

import base64
import hashlib
import re
from xml.etree import ElementTree

from harness.report.document import Datum, Heading, Notes, Paragraph, Table
from harness.report.formats import pictures, to_html
from harness.report.report import Report
from harness.report.writers.html import render
from tests.support.pages import Page


def test_page_makes_no_request(report: Report) -> None:
    text = to_html(report)
    page = Page(text)
    assert page.open == []
    assert page.requested == []
    assert page.scripts == 1
    assert all(image.startswith("data:image/svg+xml;base64,") for image in page.images)
    assert "url(" not in text
    assert "@import" not in text


def test_page_allows_only_its_own_script(report: Report) -> None:
    text = to_html(report)
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text


def test_every_figure_is_an_image_in_the_page(report: Report) -> None:
    page = Page(to_html(report))
    shown = [base64.b64decode(image.partition(",")[2]).decode() for image in page.images]
    drawn = pictures([report])
    assert sorted(drawn) == [
        "best-of-k-copy",
        "best-of-k-digits",
        "learning-copy",
        "ranks",
        "scores-copy",
        "scores-digits",
    ]
    assert sorted(shown) == sorted(drawn.values())
    for svg in shown:
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"


def test_long_word_in_a_page_is_broken_and_a_short_one_is_not() -> None:
    page = render([Heading("t", 1), Table(("model",), ((Datum("x" * 60),), (Datum("tcn"),)))], title="t")
    assert f'<td class="long">{"x" * 60}</td>' in page
    assert '<td class="short">tcn</td>' in page


def test_interval_in_a_header_and_percent_in_prose_are_not_broken() -> None:
    table = Table(("model", "test loss (mean, 95 % CI)"), ((Datum("tcn"), Datum("0.02 [3e-06, 133.7]")),))
    page = render([Heading("t", 1), Paragraph("at 95 % of runs"), table, Notes(("5 %",))], title="t")
    assert '>test loss (mean, <span class="whole">95 % CI</span>)</button>' in page
    assert '>0.02 <span class="whole">[3e-06, 133.7]</span></td>' in page
    assert ".whole { white-space: nowrap; }" in page
    assert "<p>at 95\u00a0% of runs</p>" in page
    assert "<li>5\u00a0%</li>" in page


def test_column_sorts_by_value_and_not_by_text() -> None:
    table = Table(("model", "size"), ((Datum("tcn"), Datum("1.0 KiB", 1024.0)), (Datum("gru"), Datum("2 B", 2.0))))
    page = render([Heading("t", 1), table], title="t")
    assert 'data-value="1024.0">1.0\u00a0KiB<' in page
    assert '<th scope="col"><button type="button">size</button></th>' in page
