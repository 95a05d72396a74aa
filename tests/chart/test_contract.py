"""`keel.contract` runs an image as the chart would: by the chart's own defaults."""

import yaml

from keel.contract.container import Pod
from toolkit.paths import CHART


def test_what_it_takes_for_the_chart_s_values_is_so() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    pod = Pod("app:1")
    assert pod.memory == values["resources"]["limits"]["memory"]
    assert pod.tmp_size == values["tmp"]["sizeLimit"]
    assert pod.drain_seconds == values["drain"]["timeoutSeconds"]
    assert (pod.public, pod.management) == (values["ports"]["http"], values["ports"]["management"])
    paths = {"startup": pod.startup, "readiness": pod.readiness, "liveness": pod.liveness}
    assert paths == {name: probe["path"] for name, probe in values["probes"].items()}
    assert pod.metrics == values["serviceMonitor"]["path"]
