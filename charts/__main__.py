"""Writes what is made of a chart's rules and values.

python -m charts charts/fastapi-service            writes it
python -m charts charts/fastapi-service --check    fails when something is out of date
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from charts import alerts, docs, everything

# In this order: some are made of what others are. A chart need not have all of these files.
MADE: dict[str, Callable[[str, Path], str]] = {
    "values.yaml": alerts.with_values,
    "values.schema.json": alerts.with_schema,
    "../../docs/runbooks/README.md": alerts.with_index,
    "ci/everything-values.yaml": everything.with_all,
    "README.md": docs.with_table,
}


def outdated(chart: Path) -> Iterator[tuple[Path, str]]:
    """The files that are not as they must be, with what they have to be."""
    for name, make in MADE.items():
        file = Path(os.path.normpath(chart / name))
        if name == "values.yaml" or file.exists():
            old = file.read_text(encoding="utf-8")
            if (new := make(old, chart)) != old:
                yield file, new


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m charts", description="Write what is made of a chart's values.")
    parser.add_argument("chart", type=Path, help="the chart's directory")
    parser.add_argument("--check", action="store_true", help="only fail when something is out of date")
    arguments = parser.parse_args()
    try:
        for file, text in outdated(arguments.chart):
            if arguments.check:
                sys.exit(f"{file} is out of date: run python -m charts {arguments.chart}")
            file.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        sys.exit(f"{arguments.chart}: {error}")


if __name__ == "__main__":
    main()
