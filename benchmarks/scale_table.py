"""Print the stored figures of `scale.py`, before and after, as one table per part.

python benchmarks/scale_table.py > benchmarks/results/scale.md
"""

from __future__ import annotations

import json
import sys

from measure import ROOT
from scale import Json, markdown

RESULTS = ROOT / "benchmarks" / "results"
FILES = {"before": RESULTS / "scale-before.json", "after": RESULTS / "scale.json"}
KEYS = ("GPUs", "sampler", "told", "store", "trials", "slots")
TITLES = {
    "fits": "Whether one more trial fits on a full cluster",
    "ask": "One ask, by earlier trials of the cell",
    "study": "Whole studies with simulated workers",
    "tracker": "Whole studies that are sent to MLflow",
}


def rows_of(part: str, figures: dict[str, dict[str, list[Json]]]) -> list[Json]:
    """Return the lines of a part with the same settings one below the other."""
    keyed = [
        (tuple(str(row.get(key, "")).zfill(6) for key in KEYS), number, {**_settings(row), "version": name, **row})
        for number, (name, parts) in enumerate(figures.items())
        for row in parts.get(part, ())
    ]
    ordered = [row for _, _, row in sorted(keyed, key=lambda item: item[:2])]
    return [{name: value for name, value in row.items() if name != "environment"} for row in ordered]


def _settings(row: Json) -> Json:
    return {key: row[key] for key in KEYS if key in row}


def main() -> int:
    figures = {name: json.loads(path.read_text()) for name, path in FILES.items()}
    print("# Cost of the driver by the size of a study\n\nMade by `benchmarks/scale_table.py`.\n")
    for name, parts in figures.items():
        facts = {json.dumps(row["environment"]) for rows in parts.values() for row in rows}
        commits = sorted({json.loads(fact)["commit"] for fact in facts})
        first = {**json.loads(min(facts)), "commit": ", ".join(commits)}
        print(f"- {name}: " + "; ".join(f"{key}: {value}" for key, value in first.items() if key != "date"))
    for part, title in TITLES.items():
        print(f"\n## {title}\n\n{markdown(rows_of(part, figures))}", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
