"""Values that cannot work are refused before anything reaches the cluster, with what to write instead."""

from typing import Any

import pytest

from .helm import CHART, DIGEST, helm, helm_program, refusal, render


def ingress(**values: Any) -> dict[str, Any]:
    return {"ingress": {"enabled": True, "hosts": [{"host": "a.example"}], **values}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"image": {"repository": ""}},
            "image.repository is empty: name the image to run, such as registry.example.com/team/app",
        ),
        (
            {"image": {"repository": "example.com/app:1.2"}},
            'image.repository "example.com/app:1.2" holds a tag or digest: write it as image.tag or image.digest',
        ),
        (
            {"image": {"repository": f"example.com/app@{DIGEST}"}},
            f'image.repository "example.com/app@{DIGEST}" holds a tag or digest: write it as image.tag or image.digest',
        ),
        (
            {"image": {"digest": DIGEST.upper()}},
            f'image.digest "{DIGEST.upper()}" is no digest: write sha256: and its 64 hexadecimal digits',
        ),
        (
            {"image": {"digest": DIGEST[:-1]}},
            f'image.digest "{DIGEST[:-1]}" is no digest: write sha256: and its 64 hexadecimal digits',
        ),
        (
            {"autoscaling": {"minReplicas": 11}},
            "autoscaling.minReplicas 11 is above autoscaling.maxReplicas 10: lower the one or raise the other",
        ),
        (
            {"autoscaling": {"targetCPUUtilizationPercentage": None}},
            "autoscaling has no metric to follow: set autoscaling.targetCPUUtilizationPercentage, "
            "or autoscaling.enabled to false",
        ),
        (
            {"resources": {"requests": {"cpu": None}}},
            "autoscaling.targetCPUUtilizationPercentage is a percentage of the CPU request, "
            "and there is none: set resources.requests.cpu",
        ),
        (
            {
                "autoscaling": {"targetMemoryUtilizationPercentage": 80},
                "resources": {"requests": {"memory": None}},
            },
            "autoscaling.targetMemoryUtilizationPercentage is a percentage of the memory request, "
            "and there is none: set resources.requests.memory",
        ),
        (
            {"rollingUpdate": {"maxSurge": 0}},
            "rollingUpdate.maxUnavailable and rollingUpdate.maxSurge are both zero, "
            "so no rollout could begin: set rollingUpdate.maxSurge to at least 1",
        ),
        (
            {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": "0%"}},
            "rollingUpdate.maxUnavailable and rollingUpdate.maxSurge are both zero, "
            "so no rollout could begin: set rollingUpdate.maxSurge to at least 1",
        ),
        ({"config": {"APP_PORT": 80}}, "config.APP_PORT is set by the chart: set ports.http instead"),
        (
            {"config": {"APP_MANAGEMENT_PORT": 80}},
            "config.APP_MANAGEMENT_PORT is set by the chart: set ports.management instead",
        ),
        (
            {"config": {"APP_DRAIN_DELAY_SECONDS": 5}},
            "config.APP_DRAIN_DELAY_SECONDS is set by the chart: set drain.endpointDelaySeconds instead",
        ),
        (
            {"config": {"APP_DRAIN_TIMEOUT_SECONDS": 5}},
            "config.APP_DRAIN_TIMEOUT_SECONDS is set by the chart: set drain.timeoutSeconds instead",
        ),
        (
            {"config": {"APP_SECRETS_DIR": "/a"}, "secrets": {"existingSecret": "a"}},
            "config.APP_SECRETS_DIR is set by the chart: set secrets.mountPath instead",
        ),
        (
            {"env": [{"name": "APP_PORT", "value": "80"}]},
            "env has APP_PORT, which is set by the chart: set ports.http instead",
        ),
        (
            {"env": [{"name": "A", "value": "1"}], "config": {"A": "2"}},
            "env has A, which the ConfigMap has already: set config.A instead",
        ),
        (
            {"config": {"A": 9007199254740993}},
            "config.A is a number that Helm does not keep exactly: write it in quotes",
        ),
        (
            {"config": {"A-B": "1"}},
            "config.A-B is no environment variable: write letters, digits and _ alone",
        ),
        (
            {"serviceMonitor": {"interval": "15"}},
            'serviceMonitor.interval "15" is no duration: write a number and ms, s or m, such as 15s',
        ),
        (
            ingress(hosts=[{"host": "https://a.example"}]),
            'ingress.hosts has "https://a.example", which is no host: '
            "write a name such as links.example.com or *.example.com",
        ),
        (
            {"migrations": {"enabled": True, "args": []}},
            "migrations.args is empty, so the Job would start the server and never end: "
            "write the arguments that migrate, such as [migrate]",
        ),
        (
            {"commonLabels": {"helm.sh/chart": "a"}},
            "commonLabels has helm.sh/chart, by which the chart finds its objects: use a label of your own",
        ),
        (
            {"podLabels": {"app.kubernetes.io/name": "a"}},
            "podLabels has app.kubernetes.io/name, by which the chart finds its objects: use a label of your own",
        ),
        (
            {"migrations": {"podLabels": {"app.kubernetes.io/component": "app"}}},
            "migrations.podLabels has app.kubernetes.io/component, by which the chart finds its objects: "
            "use a label of your own",
        ),
        (
            {"serviceMonitor": {"labels": {"app.kubernetes.io/instance": "a"}}},
            "serviceMonitor.labels has app.kubernetes.io/instance, by which the chart finds its objects: "
            "use a label of your own",
        ),
        (
            ingress(hosts=[]),
            "ingress.hosts is empty: name a host, such as [{host: links.example.com}], or set ingress.enabled to false",
        ),
        (
            ingress(hosts=[{"host": "a.example"}, {"host": "a.example"}]),
            "ingress.hosts has a.example twice: put its paths together",
        ),
        (
            ingress(tls=[{"hosts": ["a.example"]}]),
            "ingress.tls[0] has no secretName: name the Secret that holds the certificate",
        ),
        (
            ingress(tls=[{"secretName": "a"}]),
            "ingress.tls[0] has no hosts: list the hosts that its certificate is for",
        ),
        (
            ingress(tls=[{"secretName": "a", "hosts": ["a.example", "b.example"]}]),
            "ingress.tls[0] is for b.example, which is not among ingress.hosts: add it there or remove it here",
        ),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == [message]


@pytest.mark.parametrize(
    ("release", "name"), [("2fa", "2fa-fastapi-service"), ("my.release", "my.release-fastapi-service")]
)
def test_a_release_whose_name_no_service_can_have(release: str, name: str) -> None:
    (line,) = refusal({}, release=release)
    assert line.startswith(f'the release\'s objects would be called "{name}", which a Service cannot be: choose a')
    render({"fullnameOverride": "links"}, release=release)


def test_all_mistakes_are_named_at_once() -> None:
    refused = refusal({"image": {"repository": ""}, "internalPaths": ["/"], **ingress(hosts=[])})
    assert [line.split(" ")[0] for line in refused] == ["image.repository", "internalPaths", "ingress.hosts"]


@pytest.mark.parametrize(
    "values",
    [
        {"autoscaling": {"enabled": False, "minReplicas": 11, "targetCPUUtilizationPercentage": None}},
        {"autoscaling": {"enabled": False}, "resources": {"requests": None}},
        {"rollingUpdate": {"maxUnavailable": "10%", "maxSurge": 0}},
        {"config": {"APP_SECRETS_DIR": "/elsewhere"}},
        {"ingress": {"enabled": False, "tls": [{}]}},
        {"migrations": {"enabled": False, "args": []}},
        {"image": {"repository": "localhost:5000/app"}},
        {"resources": {"requests": {"cpu": 0.5}, "limits": {"nvidia.com/gpu": 1}}},
        {"global": {"any": "thing"}},
        {"config": None, "env": None, "envFrom": None, "extraVolumes": None, "podLabels": None},
        {"commonLabels": None, "command": None, "args": None, "securityContext": None},
    ],
)
def test_what_can_work_is_not_refused(values: dict[str, Any]) -> None:
    assert render(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"replcias": 3}, "at '': additional properties 'replcias' not allowed"),
        ({"image": {"name": "a"}}, "at '/image': additional properties 'name' not allowed"),
        ({"image": {"tag": 1.10}}, "at '/image/tag': got number, want string"),
        ({"replicas": -1}, "at '/replicas': minimum: got -1, want 0"),
        ({"replicas": "3"}, "at '/replicas': got string, want integer"),
        ({"autoscaling": {"minReplicas": 0}}, "at '/autoscaling/minReplicas': minimum: got 0, want 1"),
        ({"ports": {"http": 80}}, "at '/ports/http': minimum: got 80, want 1,024"),
        ({"service": {"port": 65536}}, "at '/service/port': maximum: got 65,536, want 65,535"),
        (
            {"service": {"type": "ExternalName"}},
            "at '/service/type': value must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'",
        ),
        (
            {"image": {"pullPolicy": "Sometimes"}},
            "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
        ),
        (
            {"podDisruptionBudget": {"maxUnavailable": "half"}},
            "at '/podDisruptionBudget/maxUnavailable': 'half' does not match pattern '^[0-9]+%$'",
        ),
        (
            {"resources": {"requests": {"memory": "128 MB"}}},
            r"at '/resources/requests/memory': '128 MB' does not match pattern "
            r"'^\\+?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$'",
        ),
        (
            {"fullnameOverride": "Links"},
            "at '/fullnameOverride': 'Links' does not match pattern '^([a-z]([-a-z0-9]*[a-z0-9])?)?$'",
        ),
        (
            {"fullnameOverride": "1links"},
            "at '/fullnameOverride': '1links' does not match pattern '^([a-z]([-a-z0-9]*[a-z0-9])?)?$'",
        ),
        ({"config": {"A": ["1"]}}, "at '/config/A': got array, want null or boolean or number or string"),
        ({"env": [{"value": "1"}]}, "at '/env/0': missing property 'name'"),
        (
            {"probes": {"startup": {"initialDelaySeconds": 1}}},
            "at '/probes/startup': additional properties 'initialDelaySeconds' not allowed",
        ),
        ({"ingress": {"hosts": ["a.example"]}}, "at '/ingress/hosts/0': got string, want object"),
        ({"podAnnotations": {"a": True}}, "at '/podAnnotations/a': got boolean, want string"),
        ({"drain": {"timeoutSeconds": None}}, "at '/drain': missing property 'timeoutSeconds'"),
        ({"ingress": None}, "at '': missing property 'ingress'"),
    ],
)
def test_the_schema_names_the_value(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == [message]


def test_an_old_cluster_is_refused() -> None:
    assert render(options=("--kube-version=1.31.0",))
    assert render(options=("--kube-version=1.34.2-gke.100",))

    done = helm("template", "demo", CHART, "--set=image.repository=a", "--kube-version=1.30.9")
    assert done.returncode != 0
    assert "chart requires kubeVersion: >=1.31.0-0 which is incompatible with Kubernetes v1.30.9" in done.stderr


def test_a_missing_helm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELM", "/no/helm")
    with pytest.raises(pytest.fail.Exception, match="/no/helm is no program: install Helm 4, or set HELM"):
        helm_program.__wrapped__()
