"""`python -m grafana` writes the dashboards' JSON; with --check it only says which files are out of date."""

import argparse
import sys

from grafana import dashboards


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m grafana", description="Write the dashboards' JSON into the chart and the domains."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not what the code says")
    if not parser.parse_args().check:
        dashboards.write()
    elif stale := dashboards.stale():
        sys.exit(f"out of date: {', '.join(stale)}: make docs")


if __name__ == "__main__":
    main()
