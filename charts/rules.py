"""Prints the chart's rules and alerts as a rule file, for a Prometheus without the operator.

    python charts/rules.py RELEASE --namespace NAMESPACE -f values.yaml > rules.yaml

What follows the release goes to `helm template`. HELM names another Helm than that of the PATH.
"""

import os
import subprocess
import sys
from pathlib import Path

import yaml

CHART = Path(__file__).parent / "fastapi-service"


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python charts/rules.py RELEASE [options of helm template]")
    release, *options = sys.argv[1:]
    chosen = [*options, "--set=prometheusRule.enabled=true", "--show-only=templates/prometheusrule.yaml"]
    argv = [os.environ.get("HELM", "helm"), "template", release, str(CHART), *chosen]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        sys.exit(f"{argv[0]} cannot be run ({error.strerror}): install Helm 4, or set HELM to where it is")
    if done.returncode:
        sys.exit(done.stderr.strip())
    rules = yaml.safe_load(done.stdout)["spec"]
    sys.stdout.write(yaml.safe_dump(rules, sort_keys=False, allow_unicode=True, width=1000))


if __name__ == "__main__":
    main()
