"""Objects that the chart knows nothing of, with the release's names and labels."""

from typing import Any

import pytest

from .helm import Objects, refusal, render

NAME = '{{ include "fastapi-service.fullname" . }}-more'
MORE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": {"host": "{{ .Release.Name }}"}}
TEXT = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-one
  labels:
    tier: {{ .Values.podLabels.tier | default "web" }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-two
"""


def extra(*objects: Any, **values: Any) -> Objects:
    return render({"extraObjects": list(objects), **values})


def test_templates_are_rendered_with_the_names_of_the_release() -> None:
    more = extra(MORE).one("ConfigMap", "demo-fastapi-service-more")
    assert more["data"] == {"host": "demo"}


def test_they_may_be_text_of_several_objects() -> None:
    objects = extra(TEXT, podLabels={"tier": "back"})
    assert objects.one("ConfigMap", "demo-one")["metadata"]["labels"]["tier"] == "back"
    assert objects.one("ConfigMap", "demo-two")


def test_they_belong_to_the_release_and_to_nothing_that_the_chart_selects() -> None:
    labels = extra(MORE, commonLabels={"team": "links"}).one("ConfigMap", "demo-fastapi-service-more")["metadata"][
        "labels"
    ]
    assert labels["app.kubernetes.io/instance"] == "demo"
    assert labels["app.kubernetes.io/component"] == "extra"
    assert labels["team"] == "links"


def test_nothing_else_changes() -> None:
    objects = extra(MORE)
    objects.remove(objects.one("ConfigMap", "demo-fastapi-service-more"))
    assert objects == render()


def worker(**labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "worker"},
        "spec": {"template": {"metadata": {"labels": labels}}},
    }


OWN = {"app.kubernetes.io/name": "fastapi-service", "app.kubernetes.io/instance": "demo"}


def test_pods_of_their_own() -> None:
    assert extra(worker(**OWN, **{"app.kubernetes.io/component": "worker"})).one("Deployment", "worker")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "ConfigMap"}, "extraObjects[0] is no object of Kubernetes: write apiVersion, kind and metadata.name"),
        (
            {**MORE, "metadata": {"labels": {}}},
            "extraObjects[0] has no metadata.name: give it one, such as demo-fastapi-service-more",
        ),
        (
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "demo-fastapi-service"}},
            "extraObjects[0] is Service demo-fastapi-service, which the chart makes itself: use another name",
        ),
        (
            worker(**OWN, **{"app.kubernetes.io/component": "app", "more": "labels"}),
            "extraObjects[0] has pods with the labels of the service's own, so its requests would reach them: "
            "use another app.kubernetes.io/component",
        ),
        (1, "at '/extraObjects/0': got number, want string or object"),
    ],
)
def test_what_cannot_work_is_explained(given: Any, message: str) -> None:
    assert refusal({"extraObjects": [given]}) == [message]


@pytest.mark.parametrize("text", ["a: [1", "just words"])
def test_text_that_is_no_yaml(text: str) -> None:
    (line,) = refusal({"extraObjects": [text]})
    assert line.startswith("extraObjects[0] is no object in YAML once its templates are rendered: ")


MIGRATED = {"migrations": {"enabled": True}}
HOOK = {"helm.sh/hook": "pre-install,pre-upgrade"}
VOLUMES: list[dict[str, Any]] = [
    {"configMap": {"name": "more"}},
    {"projected": {"sources": [{"configMap": {"name": "more"}}]}},
]


def needed(kind: str = "ConfigMap", **annotations: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "more", "annotations": annotations}}


def made_later(kind: str) -> list[str]:
    return [
        f"extraObjects[0] is made after the migrations, whose pod would wait for it: give {kind} more the annotation "
        "helm.sh/hook: pre-install,pre-upgrade, or set migrations.enabled to false"
    ]


@pytest.mark.parametrize("volume", VOLUMES)
def test_the_migrations_do_not_wait_for_what_comes_after_them(volume: dict[str, Any]) -> None:
    values = {"extraVolumes": [{"name": "more", **volume}]}
    assert refusal({"extraObjects": [needed()], **values, **MIGRATED}) == made_later("ConfigMap")
    assert extra(needed(**HOOK), **values, **MIGRATED)
    assert extra(needed(), **values, migrations={"enabled": False})


def test_nor_for_a_secret() -> None:
    for values in (
        {"extraVolumes": [{"name": "more", "secret": {"secretName": "more"}}]},
        {"envFrom": [{"secretRef": {"name": "more"}}]},
    ):
        assert refusal({"extraObjects": [needed("Secret")], **values, **MIGRATED}) == made_later("Secret")
    assert extra(needed("Secret"), envFrom=[{"secretRef": {"name": "more", "optional": True}}], **MIGRATED)
    assert extra(needed("Secret"), envFrom=[{"configMapRef": {"name": "more"}}], **MIGRATED)
