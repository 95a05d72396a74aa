"""`python -m grafana.draw` draws the dashboards of a service without Grafana; with --png it takes pictures too."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from grafana.draw import pages, pictures
from toolkit.process import Failure

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        for path in _draw(args):
            sys.stdout.write(f"{path}\n")
    except Failure as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    return 0


def _draw(args: argparse.Namespace) -> list[Path]:
    written = pages.draw(
        args.out,
        prometheus=args.prometheus,
        victorialogs=args.victorialogs,
        namespace=args.namespace,
        job=args.job,
        deployment=args.deployment or args.job,
        seconds=args.range,
        scrape=args.scrape_interval,
        runbooks=args.runbooks,
    )
    return written + (pictures.take(written, args.png) if args.png else [])


def duration(text: str) -> int:
    """Seconds of a duration as Prometheus writes it: 90s, 15m, 6h, 2d."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write it as in 90s, 15m, 6h or 2d")
    return int(match[1]) * SECONDS[match[2]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m grafana.draw", description="Draw the dashboards without Grafana.")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address (default: `make up`'s)")
    parser.add_argument("--victorialogs", help="its address, for log lines (default: none)")
    parser.add_argument("--namespace", default="links", help="where the service runs (default: links)")
    parser.add_argument("--job", default="links", help="the Helm release (default: links)")
    parser.add_argument("--deployment", help="name of the Deployment (default: that of the release)")
    parser.add_argument("--range", type=duration, default="15m", help="how far back (default: 15m)")
    parser.add_argument(
        "--scrape-interval", type=duration, default="15s", help="how often Prometheus looks (default: 15s)"
    )
    parser.add_argument("--runbooks", help="address of the runbooks (default: docs/runbooks)")
    parser.add_argument("--out", type=Path, default=Path("build/dashboards"), help="folder for the pages")
    parser.add_argument("--png", type=Path, metavar="FOLDER", help="also take pictures of the pages")
    return parser


if __name__ == "__main__":
    sys.exit(main())
