"""Draw a report into an SVG: harness report quickstart | python docs/picture.py docs/quickstart.svg"""

from __future__ import annotations

import sys
from io import StringIO

from rich.console import Console
from rich.markdown import Markdown


def main() -> None:
    console = Console(record=True, width=150, file=StringIO())
    console.print(Markdown(sys.stdin.read()))
    console.save_svg(sys.argv[1], title="harness run studies/quickstart.toml")


if __name__ == "__main__":
    main()
