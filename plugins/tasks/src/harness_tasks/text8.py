"""text8, the first 100,000,000 characters of a cleaned English Wikipedia (M. Mahoney)."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from string import ascii_lowercase
from typing import ClassVar

from pydantic import Field

from harness import Array, DataError, DataFile, PublishedRow, Seeds, Split, Stream, file_status, parsed_arrays
from harness_tasks.language import CharacterLanguage, encoded
from harness_tasks.paper import published_row

ALPHABET = f" {ascii_lowercase}".encode()
"""All characters of the text, in byte order."""
SIZE = 100_000_000
"""Characters of the corpus: 90, 5 and 5 million."""
PARSED = 1
"""Version of what `_parse` stores."""

SOURCE = "M. Mahoney, text8, from the English Wikipedia dump of 3 March 2006"
WHOLE = DataFile(
    name="text8/text8.zip",
    bytes=31_344_016,
    sha256="a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
    url="http://mattmahoney.net/dc/text8.zip",
    source=SOURCE,
)
PART_SIZE = 12_549_840
PART = DataFile(
    name=f"text8/text8.PARTIAL-first-{PART_SIZE}-bytes.zip",
    bytes=4_190_565,
    sha256="65a71d24b3d42d6feacc13f47acab38ce033cae94d6c800c7cd06c2773853437",
    source=f"{SOURCE}: its first {PART_SIZE:,} characters",
)


class Text8(CharacterLanguage):
    """English Wikipedia in 27 characters, the space and a to z: 90, 5 and 5 million, in the order of the text.

    fraction: use only the first part of the text, split 90/5/5, to try a setup; its scores are not those of text8.
    """

    name: ClassVar[str] = "text8"
    rows: ClassVar[int] = 50
    """Contiguous rows in evaluation: of five million characters, only the first ones of 49 rows lack their history."""

    fraction: float | None = Field(default=None, gt=0, lt=1)
    """Part of the text; None: the whole."""

    def vocabulary(self) -> int:
        return len(ALPHABET)

    def characters(self) -> int:
        """Return the number of characters of all three splits."""
        return SIZE if self.fraction is None else round(self.fraction * SIZE)

    def training_tokens(self) -> int:
        return self.characters() - 2 * (self.characters() // 20)

    def files(self) -> tuple[DataFile, ...]:
        """Return the whole corpus, or its first part if the corpus is missing and the fraction is small enough."""
        if self.characters() <= PART_SIZE and file_status(WHOLE).state == "missing":
            return (PART,)
        return (WHOLE,)

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Stream:  # draws nothing
        (path,) = files.values()
        text = parsed_arrays("text8", [path], partial(_parse, path), version=PARSED)["text"]
        if len(text) < self.characters():
            needed = f"this fraction needs {self.characters():,}" if self.fraction else "set the task's fraction"
            raise DataError(f"{path}: holds {len(text):,} characters, but text8 has {SIZE:,}; {needed}")
        end, held_out = self.characters(), self.characters() // 20
        stop = {"train": end - 2 * held_out, "validation": end - held_out, "test": end}[split]
        return self.stream(text[0 if split == "train" else stop - held_out : stop])

    def published(self) -> PublishedRow:
        return published_row(
            1,
            "text8",
            parameters=4_129_667,
            results={"lstm": 1.50, "gru": 1.53, "rnn": 1.69, "tcn": 1.45} if self.fraction is None else {},
            note="parameters: count of the published TCN at Table 2's setting; Table 1 says 5M",
        )


def _parse(path: Path) -> Iterator[tuple[str, Array]]:
    """Yield `text`: the place of each character in the alphabet."""
    try:
        with zipfile.ZipFile(path) as archive:
            (member,) = archive.infolist()
            text = archive.read(member)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        what = f"{type(error).__name__}: {error}"
        raise DataError(f"{path}: cannot be read as an archive of one text ({what})") from error
    yield "text", encoded(text, ALPHABET, str(path))
