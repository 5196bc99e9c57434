"""Draw a study's report, as MLflow has it, into an SVG: python docs/picture.py quickstart docs/quickstart.svg"""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from harness.report import build_report, to_markdown
from harness.tracking import read_store, store_uri


def main() -> None:
    study, output = sys.argv[1:]
    console = Console(record=True, width=150, file=StringIO())
    console.print(Markdown(to_markdown(build_report(read_store(store_uri(Path.cwd()), study)))))
    console.save_svg(output, title=f"harness run studies/{study}.toml")


if __name__ == "__main__":
    main()
