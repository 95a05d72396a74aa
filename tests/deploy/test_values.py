from pathlib import Path

import pytest

from delivery.deploy import values
from delivery.deploy.values import Objectives, merge
from toolkit.paths import ROOT
from toolkit.process import Failure

ENVIRONMENTS = ROOT / "k8s" / "environments"
PRODUCTION = [ENVIRONMENTS / name for name in ("domains.yaml", "common.yaml", "production.yaml")]


def test_values_are_merged_as_helm_does() -> None:
    under = {"a": {"b": 1, "c": [1, 2]}, "d": 1, "e": {"f": 1}}
    over = {"a": {"b": 2, "c": [3]}, "d": None, "e": 2}
    assert merge(under, over) == {"a": {"b": 2, "c": [3]}, "e": 2}
    assert under == {"a": {"b": 1, "c": [1, 2]}, "d": 1, "e": {"f": 1}}


def test_the_release_s_own_objectives() -> None:
    found = values.objectives(values.load(PRODUCTION, {}))
    assert found == Objectives(errors=0.001, slow=0.01, threshold="0.5", burn_rate=14.4, minimum=10)


def test_other_objectives() -> None:
    slo = {
        "availability": {"objective": 99},
        "latency": {"objective": 95, "threshold": 1},
        "minimumErrors": 3,
        "windows": [{"severity": "critical", "burnRate": 5, "long": "1h", "short": "5m", "for": "2m"}],
    }
    found = values.objectives(values.load([], {"prometheusRule": {"slo": slo}}))
    assert found == Objectives(errors=0.01, slow=0.05, threshold="1", burn_rate=5, minimum=3)


def test_the_secrets_that_must_be_there() -> None:
    local = values.load([ENVIRONMENTS / "local.yaml"], {"image": {"pullSecrets": [{"name": "registry"}]}})
    assert values.secrets(local) == ["links-secrets", "links-tls", "registry"]
    assert values.secrets(values.load(PRODUCTION, {})) == ["links-secrets"]
    # cert-manager makes the certificate's.
    issued = values.load([ENVIRONMENTS / "local.yaml"], {"certificate": {"enabled": True}})
    assert values.secrets(issued) == ["links-secrets"]
    annotations = {"cert-manager.io/cluster-issuer": "letsencrypt"}
    by_annotation = values.load([ENVIRONMENTS / "local.yaml"], {"ingress": {"annotations": annotations}})
    assert values.secrets(by_annotation) == ["links-secrets"]
    assert values.secrets(values.load([], {"externalSecret": {"enabled": True}})) == []


def test_what_is_no_map_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("- a\n")
    with pytest.raises(Failure, match=r"values.yaml are no map: write `key: value`."):
        values.load([file], {})
    with pytest.raises(Failure, match=r"missing.yaml cannot be read: "):
        values.load([tmp_path / "missing.yaml"], {})


def test_the_requests_of_a_visit_are_those_of_helm_test() -> None:
    """But for those that name a host, to which the public address does not lead."""
    loaded = values.load(PRODUCTION, {})
    assert [each["name"] for each in values.smoke_requests(loaded)] == ["route", "token", "missing"]
    other = {"name": "other", "path": "/", "status": 200, "host": "other.example.com"}
    with_host = values.load(PRODUCTION, {"tests": {"requests": [other, {"name": "a", "path": "/", "status": 200}]}})
    assert [each["name"] for each in values.smoke_requests(with_host)] == ["a"]
    assert values.smoke_requests(values.load(PRODUCTION, {"tests": {"enabled": False}})) == []
