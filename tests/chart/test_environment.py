"""Configuration by environment variables, secrets by files."""

from pathlib import Path
from typing import Any

import pytest

from delivery.deploy import values

from .helm import Objects, pod, render


def data(objects: Objects) -> dict[str, str]:
    found: dict[str, str] = objects.one("ConfigMap", "demo-fastapi-service")["data"]
    return found


def checksum(values: dict[str, Any]) -> str:
    template = render(values).one("Deployment")["spec"]["template"]
    found: str = template["metadata"]["annotations"]["checksum/config"]
    return found


def test_the_container_reads_the_config_map() -> None:
    objects = render()
    name = objects.one("ConfigMap", "demo-fastapi-service")["metadata"]["name"]
    assert objects.container["envFrom"] == [{"configMapRef": {"name": name}}]
    assert "env" not in objects.container


def test_what_the_chart_tells_every_image() -> None:
    assert data(render({"ports": {"http": 8080, "management": 9090}})) == {
        "APP_PORT": "8080",
        "APP_MANAGEMENT_PORT": "9090",
        "APP_DRAIN_DELAY_SECONDS": "2",
        "APP_DRAIN_TIMEOUT_SECONDS": "25",
    }


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("text", "text"),
        ("", ""),
        ("yes", "yes"),
        ("007", "007"),
        ("1e3", "1e3"),
        ("a: b # c\n'd' \"e\"", "a: b # c\n'd' \"e\""),
        ("{{ .Values }}", "{{ .Values }}"),
        (10_000_000, "10000000"),
        (0.5, "0.5"),
        (True, "true"),
        (False, "false"),
    ],
)
def test_values_arrive_as_they_were_given(given: object, written: str) -> None:
    objects = render({"config": {"X": given}, "migrations": {"enabled": True}})
    assert data(objects)["X"] == written
    assert {"name": "X", "value": written} in pod(objects.one("Job"))["containers"][0]["env"]


def test_the_listening_address_can_be_set() -> None:
    assert data(render({"config": {"APP_HOST": "::"}}))["APP_HOST"] == "::"


def test_a_change_of_configuration_replaces_the_pods() -> None:
    assert checksum({"config": {"X": "1"}}) != checksum({"config": {"X": "2"}})
    assert checksum({}) != checksum({"drain": {"timeoutSeconds": 60}})


def test_nothing_else_replaces_them() -> None:
    assert checksum({}) == checksum({"commonLabels": {"a": "b"}, "service": {"port": 81}})


def test_further_variables() -> None:
    env = [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    container = render({"env": env, "envFrom": [{"secretRef": {"name": "more"}}]}).container
    assert container["env"] == env
    assert container["envFrom"][1:] == [{"secretRef": {"name": "more"}}]


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
class TestSecrets:
    def test_none(self, kind: str) -> None:
        objects = render({"migrations": {"enabled": True}})
        assert [each["name"] for each in pod(objects.one(kind))["volumes"]] == ["tmp"]
        assert "APP_SECRETS_DIR" not in data(objects)

    def test_the_existing_one_is_a_directory_of_files(self, kind: str) -> None:
        secrets = {"existingSecret": "links", "mountPath": "/run/secrets/links"}
        objects = render({"secrets": secrets, "migrations": {"enabled": True}})
        spec = pod(objects.one(kind))
        assert spec["volumes"][1] == {
            "name": "secrets",
            "secret": {"secretName": "links", "defaultMode": 0o440},
        }
        # A subPath would never see a rotated value.
        assert spec["containers"][0]["volumeMounts"][1] == {
            "name": "secrets",
            "mountPath": "/run/secrets/links",
            "readOnly": True,
        }
        assert spec["securityContext"]["fsGroup"] == 65532, "the group by which the files can be read"
        assert data(objects)["APP_SECRETS_DIR"] == "/run/secrets/links"

    def test_extra_volumes_come_after(self, kind: str) -> None:
        volume, mount = {"name": "ca", "configMap": {"name": "ca"}}, {"name": "ca", "mountPath": "/etc/ca"}
        objects = render({"extraVolumes": [volume], "extraVolumeMounts": [mount], "migrations": {"enabled": True}})
        spec = pod(objects.one(kind))
        assert spec["volumes"][-1] == volume
        assert spec["containers"][0]["volumeMounts"][-1] == mount


def test_tmp_is_bounded() -> None:
    assert pod(render({"tmp": {"sizeLimit": "1Mi"}}).one("Deployment"))["volumes"] == [
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Mi"}}
    ]


def test_null_takes_away_what_another_file_has_set(tmp_path: Path) -> None:
    """As everywhere in Helm's values, and as a deploy merges them."""
    under, over = tmp_path / "under.yaml", tmp_path / "over.yaml"
    under.write_text('config: {APP_A: "1", APP_B: "2"}\n')
    over.write_text("config: {APP_A: null}\n")
    found = data(render(None, under, over))
    assert "APP_A" not in found
    assert found["APP_B"] == "2"
    assert values.load([under, over], {})["config"] == {"APP_B": "2"}
