"""WikiText-2 and WikiText-103 of Merity, Xiong, Bradbury & Socher 2016 (arXiv:1609.07843)."""

from __future__ import annotations

import io
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, ClassVar

from pydantic import Field

from harness import Array, DataError, DataFile, Dataset, PublishedRow, Seeds, Split, Stream, parsed_arrays
from harness_tasks.language import Vocabulary, WordLanguage, stored_words
from harness_tasks.paper import published_row

SOURCE = "S. Merity, C. Xiong, J. Bradbury and R. Socher (2016), arXiv:1609.07843"
PARSED = 1
"""Version of what `_parse` stores."""
SPLITS: dict[Split, str] = {"train": "train", "validation": "valid", "test": "test"}
"""Split → its name in the files."""

_ARCHIVE_2 = DataFile(
    name="wikitext-2/wikitext-2-v1.zip",
    bytes=4_475_746,
    sha256="92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c",
    url="https://wikitext.smerity.com/wikitext-2-v1.zip",
    source=SOURCE,
)
WIKITEXT_2: dict[Split, DataFile] = {
    "train": DataFile(
        name="wikitext-2/wiki.train.tokens",
        bytes=10_797_148,
        sha256="9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f",
        source=SOURCE,
        archive=_ARCHIVE_2,
        member="wikitext-2/wiki.train.tokens",
    ),
    "validation": DataFile(
        name="wikitext-2/wiki.valid.tokens",
        bytes=1_121_681,
        sha256="f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
        source=SOURCE,
        archive=_ARCHIVE_2,
        member="wikitext-2/wiki.valid.tokens",
    ),
    "test": DataFile(
        name="wikitext-2/wiki.test.tokens",
        bytes=1_256_449,
        sha256="d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
        source=SOURCE,
        archive=_ARCHIVE_2,
        member="wikitext-2/wiki.test.tokens",
    ),
}
WIKITEXT_103 = DataFile(
    name="wikitext-103/wikitext-103-v1.zip",
    bytes=190_229_076,
    sha256="242ba0f20b329cfdf1ccc61e9e9e5b59becf189db7f7a81cd2a0e2fc31539590",
    url="https://wikitext.smerity.com/wikitext-103-v1.zip",
    source=SOURCE,
)


class _WikiText(WordLanguage):
    """Articles of Wikipedia by words, with one `<eos>` per line.

    Words are numbered in the order of their first appearance in the training text.  The text begins with an empty
    line, so that `<eos>` is word 0.
    """

    before: ClassVar[int] = 0
    """`<eos>`."""

    embedding: int = Field(default=400, ge=1)
    """Size of the embedding, for every model; a published setting has its own."""

    @abstractmethod
    def texts(self, files: Mapping[str, Path], opened: ExitStack) -> Iterator[tuple[Split, IO[bytes]]]:
        """Yield the splits in the order train, validation, test; `opened` closes their files."""

    def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Stream:  # draws nothing
        stored = parsed_arrays(self.name, [*files.values()], partial(self._parse, files), version=PARSED)
        return self.stream(stored[split])

    def _parse(self, files: Mapping[str, Path]) -> Iterator[tuple[str, Array]]:
        vocabulary = Vocabulary(self.vocabulary())
        with ExitStack() as opened:
            for split, text in self.texts(files, opened):
                # Lines end only at line feeds: the texts contain other characters that Python treats as line ends.
                lines = io.TextIOWrapper(text, encoding="utf-8", newline="\n")
                try:
                    yield split, vocabulary.read(lines, f"{self.name}, {split}", new=split == "train")
                except UnicodeDecodeError as error:
                    raise DataError(f"{self.name}, {split}: is not UTF-8 text ({error.reason})") from error
                except (EOFError, zlib.error, zipfile.BadZipFile) as error:
                    raise DataError(f"{self.name}, {split}: cannot be unpacked ({error})") from error
        yield "words", stored_words(vocabulary.ids)


class WikiText2(_WikiText):
    """720 articles by words: 2,088,628, 217,646 and 245,569 with one `<eos>` per line; 33,278 different ones.

    It is not a row of the paper's tables; its validation and test articles are those of WikiText-103.
    """

    name: ClassVar[str] = "wikitext-2"

    def vocabulary(self) -> int:
        return 33_278

    def training_tokens(self) -> int:
        return 2_088_628

    def files(self) -> tuple[DataFile, ...]:
        return tuple(WIKITEXT_2.values())

    def texts(self, files: Mapping[str, Path], opened: ExitStack) -> Iterator[tuple[Split, IO[bytes]]]:
        for split, file in WIKITEXT_2.items():
            yield split, opened.enter_context(files[file.name].open("rb"))

    def floor(self) -> float:
        """Return the test perplexity of word frequencies (n + 1/2) / (N + V/2) in the training text."""
        return 912.8864312450454

    def validation_floor(self) -> float:
        """Return the perplexity of the same frequencies on validation."""
        return 966.1707442775369


class WikiText103(_WikiText):
    """28,475 articles by words: 103,227,021, 217,646 and 245,569 with one `<eos>` per line; 267,735 different ones."""

    name: ClassVar[str] = "wikitext-103"

    def vocabulary(self) -> int:
        return 267_735

    def training_tokens(self) -> int:
        return 103_227_021

    def files(self) -> tuple[DataFile, ...]:
        return (WIKITEXT_103,)

    def texts(self, files: Mapping[str, Path], opened: ExitStack) -> Iterator[tuple[Split, IO[bytes]]]:
        """Read the splits from the official archive, without unpacking it."""
        path = files[WIKITEXT_103.name]
        try:
            archive = opened.enter_context(zipfile.ZipFile(path))
            for split, name in SPLITS.items():
                yield split, opened.enter_context(archive.open(f"wikitext-103/wiki.{name}.tokens"))
        except (zipfile.BadZipFile, KeyError) as error:
            raise DataError(f"{path}: is not the archive of WikiText-103 ({error})") from error

    def readings(self, test: Dataset) -> dict[str, Dataset]:  # the released code has no command for this row
        return {}

    def published(self) -> PublishedRow:
        return published_row(
            1,
            "WikiText-103",
            parameters=132_060_735,
            results={"lstm": 48.4, "tcn": 45.19},
            note="parameters: count of the published TCN at Table 2's setting with its last level as wide as the "
            "embedding; Table 1 has none, Table 4 says 148M.  LSTM: of Grave, Joulin & Usunier 2017",
        )
