"""Workers, cron jobs and jobs beside the API: pods of the same image that nobody asks for anything."""

import itertools
from typing import Any

import pytest
import yaml

from .helm import CHART, COMPONENTS, DIGEST, Object, Objects, component, pod, refusal, render, template_of
from .schema import SCHEMA, own

SCENARIO = CHART / "ci" / "workers-values.yaml"
NAME = "demo-fastapi-service"
WORK: Object = {"args": ["work"]}
NIGHTLY: Object = {"args": ["clean-up"], "schedule": "0 3 * * *"}
ONCE: Object = {"args": ["report"]}
MONITORING = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
POLICY: Object = {"enabled": True, "ingress": {"http": [MONITORING], "management": [MONITORING]}}
POSTGRESQL = {"type": "postgresql", "metadata": {"query": "SELECT 1", "targetQueryValue": "5"}}
CPU = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}}
# Where each of the values is, with what it needs.
EACH = pytest.mark.parametrize(
    ("of", "kind", "least"),
    [("workers", "Deployment", WORK), ("cronJobs", "CronJob", NIGHTLY), ("jobs", "Job", ONCE)],
)


def worker(values: Object | None = None, **given: Any) -> Object:
    """The Deployment of a worker called mail."""
    return deployment(render({**(values or {}), "workers": {"mail": {**WORK, **given}}}))


def deployment(objects: Objects, name: str = "mail") -> Object:
    return objects.one("Deployment", f"{NAME}-{name}")


def container(workload: Object) -> Object:
    (found,) = pod(workload)["containers"]
    assert isinstance(found, dict)
    return found


def env(workload: Object) -> dict[str, Any]:
    listed = container(workload).get("env", [])
    found = {each["name"]: each.get("value", each.get("valueFrom")) for each in listed}
    assert len(found) == len(listed)
    return found


def test_api_worker_and_cron_job_are_one_short_file() -> None:
    assert len(SCENARIO.read_text(encoding="utf-8").splitlines()) <= 40
    objects = render(None, SCENARIO)
    assert [each["metadata"]["name"] for each in objects.all("Deployment")] == [NAME, f"{NAME}-worker"]
    assert [each["metadata"]["name"] for each in objects.all("CronJob")] == [f"{NAME}-clean-up"]
    assert objects.one("ConfigMap", NAME)["data"]["APP_TASKS_AT_ONCE"] == "0"
    assert env(deployment(objects, "worker"))["APP_TASKS_AT_ONCE"] == "8"


def test_none_by_default() -> None:
    objects = render({"networkPolicy": POLICY})
    assert {component(each) for each in objects} <= {*COMPONENTS}
    assert not objects.all("CronJob")
    assert not objects.all("Job")
    assert render({"networkPolicy": POLICY, "workers": None, "cronJobs": None, "jobs": None}) == objects


class TestAll:
    @EACH
    def test_it_is_called_after_its_name(self, of: str, kind: str, least: Object) -> None:
        objects = render({of: {"mail": least}})
        each = objects.one(kind, f"{NAME}-mail")
        selected = {
            "app.kubernetes.io/name": "fastapi-service",
            "app.kubernetes.io/instance": "demo",
            "app.kubernetes.io/component": "mail",
        }
        assert selected.items() <= each["metadata"]["labels"].items()
        assert selected.items() <= template_of(each)["metadata"]["labels"].items()
        assert container(each)["name"] == "mail"

    @EACH
    def test_nothing_that_finds_the_app_finds_its_pods(self, of: str, kind: str, least: Object) -> None:
        values = {
            of: {"mail": least},
            "networkPolicy": POLICY,
            "podMonitor": {"enabled": True},
            "extraServices": [{"name": "more", "spec": {"ports": [{"port": 1}]}}],
        }
        objects = render(values)
        its = template_of(objects.one(kind, f"{NAME}-mail"))["metadata"]["labels"].items()
        selectors = [
            *(each["spec"]["selector"] for each in objects.all("Service")),
            *(
                each["spec"]["selector"]["matchLabels"]
                for found in ("Deployment", "PodDisruptionBudget", "PodMonitor")
                for each in objects.all(found)
                if component(each) != "mail"
            ),
            objects.one("NetworkPolicy", NAME)["spec"]["podSelector"]["matchLabels"],
            *(
                each["labelSelector"]["matchLabels"]
                for each in pod(objects.one("Deployment"))["topologySpreadConstraints"]
            ),
        ]
        assert len(selectors) == 9
        assert [selector for selector in selectors if selector.items() <= its] == []

    @EACH
    def test_its_pods_are_as_the_app_s(self, of: str, kind: str, least: Object) -> None:
        values: Object = {
            "image": {"digest": DIGEST, "pullPolicy": "Always", "pullSecrets": [{"name": "registry"}]},
            "serviceAccount": {"name": "identity", "automountToken": True},
            "priorityClassName": "high",
            "runtimeClassName": "gvisor",
            "dnsPolicy": "Default",
            "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
            "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["db.example.com"]}],
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "secrets": {"existingSecret": "links", "env": {"DATABASE_URL": "url"}},
            "env": [{"name": "ZONE", "value": "a"}],
            "envFrom": [{"secretRef": {"name": "more"}}],
            "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
            "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
            "podSpec": {"schedulerName": "second", "hostname": "a", "containers": [{"name": "app", "workingDir": "/"}]},
        }
        objects = render({**values, of: {"mail": least}})
        app, its = pod(objects.one("Deployment")), pod(objects.one(kind, f"{NAME}-mail"))
        for key in (
            *("serviceAccountName", "automountServiceAccountToken", "enableServiceLinks", "imagePullSecrets"),
            *("priorityClassName", "runtimeClassName", "dnsPolicy", "dnsConfig", "hostAliases", "nodeSelector"),
            *("tolerations", "securityContext", "volumes", "schedulerName"),
        ):
            assert its[key] == app[key], key
        assert "hostname" not in its
        (theirs,), (one,) = app["containers"], its["containers"]
        for key in ("image", "imagePullPolicy", "env", "envFrom", "resources", "securityContext", "volumeMounts"):
            assert one[key] == theirs[key], key
        assert one["args"] == least["args"]
        assert "command" not in one
        assert "workingDir" not in one
        # Nobody's requests are on the way when it ends.
        assert "lifecycle" not in one
        assert its.get("restartPolicy") == (None if kind == "Deployment" else "Never")

    @EACH
    def test_what_is_its_own(self, of: str, kind: str, least: Object) -> None:
        given = {
            **least,
            "command": ["celery"],
            "args": ["worker"],
            "resources": {"requests": {"cpu": "1"}},
            "drainSeconds": 300,
            "podAnnotations": {"log": "json"},
            "podLabels": {"tier": "work"},
            "initContainers": [{"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}],
        }
        objects = render({of: {"mail": given}, "podLabels": {"tier": "web"}, "podAnnotations": {"log": "text"}})
        each = objects.one(kind, f"{NAME}-mail")
        one, metadata = container(each), template_of(each)["metadata"]
        assert (one["command"], one["args"], one["resources"]) == (["celery"], ["worker"], given["resources"])
        assert (metadata["labels"]["tier"], metadata["annotations"]["log"]) == ("work", "json")
        assert pod(each)["initContainers"][0]["securityContext"] == one["securityContext"]
        # The margin is the app's; the kit counts the seconds itself.
        assert pod(each)["terminationGracePeriodSeconds"] == 305
        assert env(each) == {"APP_DRAIN_TIMEOUT_SECONDS": "300"}

    @EACH
    def test_the_drain_is_as_the_app_s_unless_it_says_otherwise(self, of: str, kind: str, least: Object) -> None:
        each = render({of: {"mail": least}, "drain": {"timeoutSeconds": 40}}).one(kind, f"{NAME}-mail")
        assert pod(each)["terminationGracePeriodSeconds"] == 45
        assert env(each) == {}
        none = render({of: {"mail": {**least, "drainSeconds": 0}}}).one(kind, f"{NAME}-mail")
        assert pod(none)["terminationGracePeriodSeconds"] == 5

    @EACH
    def test_another_image(self, of: str, kind: str, least: Object) -> None:
        image = {"repository": "registry.example.com/other"}
        values: Object = {"image": {"digest": DIGEST}}
        tagged = render({**values, of: {"mail": {**least, "image": {**image, "tag": "2.0"}}}})
        each = tagged.one(kind, f"{NAME}-mail")
        assert container(each)["image"] == "registry.example.com/other:2.0"
        assert each["metadata"]["labels"]["app.kubernetes.io/version"] == "2.0"
        assert template_of(each)["metadata"]["labels"]["app.kubernetes.io/version"] == "2.0"
        without_args = {key: value for key, value in least.items() if key != "args"}
        fixed = render({of: {"mail": {**without_args, "image": {**image, "digest": DIGEST}}}})
        one = container(fixed.one(kind, f"{NAME}-mail"))
        assert one["image"] == f"registry.example.com/other@{DIGEST}"
        assert "args" not in one

    @EACH
    def test_its_variables_win_over_the_app_s(self, of: str, kind: str, least: Object) -> None:
        values = {
            "env": [{"name": "ZONE", "value": "a"}, {"name": "MODE", "value": "api"}],
            of: {"mail": {**least, "env": [{"name": "MODE", "value": "work"}, {"name": "ONLY", "value": "here"}]}},
        }
        each = render(values).one(kind, f"{NAME}-mail")
        assert env(each) == {"ZONE": "a", "MODE": "work", "ONLY": "here"}

    @EACH
    def test_an_environment_switches_it_off(self, of: str, kind: str, least: Object) -> None:
        for off in (None, {**least, "enabled": False}):
            assert not [
                each for each in render({of: {"mail": off}, "networkPolicy": POLICY}) if component(each) == "mail"
            ]
        assert render({of: {"mail": {**least, "enabled": True}}}).one(kind, f"{NAME}-mail")

    @EACH
    def test_a_network_policy_lets_it_out_as_the_app_and_nobody_in(self, of: str, kind: str, least: Object) -> None:
        objects = render({of: {"mail": least}, "networkPolicy": POLICY})
        labels = template_of(objects.one(kind, f"{NAME}-mail"))["metadata"]["labels"].items()
        policies = [each["spec"] for each in objects.all("NetworkPolicy")]
        (its,) = [each for each in policies if each["podSelector"]["matchLabels"].items() <= labels]
        assert its["policyTypes"] == ["Ingress", "Egress"]
        assert "ingress" not in its
        assert its["egress"] == objects.one("NetworkPolicy", NAME)["spec"]["egress"]
        assert not render({of: {"mail": least}}).all("NetworkPolicy")

    @EACH
    def test_it_meets_the_restricted_standard(self, of: str, kind: str, least: Object) -> None:
        spec = pod(render({of: {"mail": least}}).one(kind, f"{NAME}-mail"))
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (one,) = spec["containers"]
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
        bare = pod(
            render({of: {"mail": least}, "podSecurityContext": None, "securityContext": None}).one(kind, f"{NAME}-mail")
        )
        assert "securityContext" not in bare
        assert "securityContext" not in bare["containers"][0]

    @pytest.mark.parametrize("full", ["short", "f" * 63, "f" * 40 + "-" + "f" * 22])
    def test_the_names_fit(self, full: str) -> None:
        name = "n" * 30
        for of, kind, least, longest in (
            ("workers", "Deployment", {**WORK, "autoscaling": {"maxReplicas": 2}}, 63),
            ("cronJobs", "CronJob", NIGHTLY, 52),
            ("jobs", "Job", ONCE, 63),
        ):
            found = [each for each in render({"fullnameOverride": full, of: {name: least}}) if component(each) == name]
            assert kind in [each["kind"] for each in found]
            for each in found:
                assert each["metadata"]["name"].endswith(f"-{name}")
                assert "--" not in each["metadata"]["name"]
                assert len(each["metadata"]["name"]) <= longest


class TestWorkers:
    def test_one_pod_that_is_replaced_as_the_app_s(self) -> None:
        objects = render({"workers": {"mail": WORK}})
        app, its = objects.one("Deployment")["spec"], deployment(objects)["spec"]
        assert its["replicas"] == 1
        for key in ("minReadySeconds", "progressDeadlineSeconds", "revisionHistoryLimit", "strategy"):
            assert its[key] == app[key]
        # Two of them share no volume.
        assert worker({"strategy": "Recreate"})["spec"]["strategy"] == app["strategy"]

    def test_one_whose_versions_must_not_meet(self) -> None:
        """While the old pods drain there is no progress, however long they take."""
        its = worker(strategy="Recreate", drainSeconds=600)["spec"]
        assert its["strategy"] == {"type": "Recreate"}
        assert its["progressDeadlineSeconds"] == 240 + 600
        assert its["template"]["spec"]["terminationGracePeriodSeconds"] == 605

    def test_a_number_that_kubectl_scale_may_change(self) -> None:
        """Decision 8: whoever has set it last, and the annotation says what the release has set."""
        three = worker(replicas=3)
        assert three["spec"]["replicas"] == 3
        assert three["metadata"]["annotations"] == {"fastapi-service/replicas": "3"}
        assert worker(replicas=0)["spec"]["replicas"] == 0

    def test_a_change_of_the_configuration_replaces_its_pods(self) -> None:
        one, two = (template_of(worker({"config": {"A": value}}))["metadata"]["annotations"] for value in ("1", "2"))
        assert one["checksum/config"] != two["checksum/config"]

    def test_its_pods_are_spread_among_themselves(self) -> None:
        spec = pod(worker())
        terms = spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        selectors = [each["labelSelector"]["matchLabels"] for each in spec["topologySpreadConstraints"]]
        selectors += [each["podAffinityTerm"]["labelSelector"]["matchLabels"] for each in terms]
        assert len(selectors) == 4
        assert {each["app.kubernetes.io/component"] for each in selectors} == {"mail"}

    def test_what_the_app_says_of_other_pods_is_not_for_them(self) -> None:
        nodes: Object = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
        values = {
            "affinity": {"nodeAffinity": nodes, "podAntiAffinity": {"of": "the app"}},
            "softAntiAffinity": False,
            "topologySpreadConstraints": [{"topologyKey": "a", "maxSkew": 1, "labelSelector": {}}],
        }
        spec = pod(worker(values))
        assert spec["affinity"] == {"nodeAffinity": nodes}
        assert "topologySpreadConstraints" not in spec

    def test_no_probes_and_no_ports_unless_asked(self) -> None:
        one = container(worker())
        assert not {"startupProbe", "readinessProbe", "livenessProbe", "ports"} & one.keys()
        assert not {"startupProbe", "livenessProbe"} & container(worker(probes={"liveness": None})).keys()

    def test_probes_as_the_app_s_on_the_management_port(self) -> None:
        objects = render({"workers": {"mail": {**WORK, "probes": {"startup": {}, "readiness": {}, "liveness": {}}}}})
        one = container(deployment(objects))
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert one[probe] == objects.container[probe]
        assert one["ports"] == [{"name": "management", "containerPort": 9000}]

    @pytest.mark.parametrize(
        ("given", "handler", "ports"),
        [
            ({"exec": {"command": ["ok"]}}, {"exec": {"command": ["ok"]}}, []),
            ({"tcpSocket": {}}, {"tcpSocket": {"port": "management"}}, [9000]),
            ({"tcpSocket": {"port": 5555}}, {"tcpSocket": {"port": 5555}}, []),
            ({"grpc": {}}, {"grpc": {"port": 9000}}, [9000]),
            ({"path": "/ok"}, {"httpGet": {"path": "/ok", "port": "management"}}, [9000]),
            ({"httpGet": {"path": "/ok", "port": 5555}}, {"httpGet": {"path": "/ok", "port": 5555}}, []),
        ],
    )
    def test_probes_of_each_kind(self, given: Object, handler: Object, ports: list[int]) -> None:
        one = container(worker(probes={"liveness": {**given, "periodSeconds": 60}}))
        times = {"periodSeconds": 60, "timeoutSeconds": 5, "failureThreshold": 6}
        assert one["livenessProbe"] == {**handler, **times}
        assert [each["containerPort"] for each in one.get("ports", [])] == ports

    def test_an_image_with_one_port(self) -> None:
        one = container(worker({"ports": {"http": 8080, "management": None}}, probes={"readiness": {}}))
        assert one["readinessProbe"]["httpGet"]["port"] == "management"
        assert one["ports"] == [{"name": "management", "containerPort": 8080}]

    def test_metrics_are_of_a_job_of_their_own(self) -> None:
        """By the service's own, rules would take the worker's pods for those that serve."""
        objects = render({"workers": {"mail": {**WORK, "metrics": True}}, "podMonitor": {"labels": {"a": "b"}}})
        monitor = objects.one("PodMonitor", f"{NAME}-mail")
        labels = template_of(deployment(objects))["metadata"]["labels"].items()
        assert monitor["spec"]["selector"]["matchLabels"].items() <= labels
        assert monitor["metadata"]["labels"]["a"] == "b"
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert (endpoint["port"], endpoint["path"], endpoint["interval"]) == ("management", "/metrics", "15s")
        assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "demo-mail"}]
        assert "jobLabel" not in monitor["spec"]
        assert container(deployment(objects))["ports"] == [{"name": "management", "containerPort": 9000}]
        assert not render({"workers": {"mail": WORK}}).all("PodMonitor")

    def test_metrics_are_scraped_as_the_app_s(self) -> None:
        on = {"enabled": True, "interval": "30s", "path": "/stats", "labels": {"release": "prometheus"}}
        objects = render({"workers": {"mail": {**WORK, "metrics": True}}, "serviceMonitor": on})
        monitor = objects.one("PodMonitor", f"{NAME}-mail")
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert (endpoint["path"], endpoint["interval"]) == ("/stats", "30s")

    def test_a_network_policy_lets_prometheus_in(self) -> None:
        objects = render({"workers": {"mail": {**WORK, "metrics": True}}, "networkPolicy": POLICY})
        (rule,) = objects.one("NetworkPolicy", f"{NAME}-mail")["spec"]["ingress"]
        assert rule == {"from": [MONITORING], "ports": [{"port": 9000, "protocol": "TCP"}]}

    def test_a_drain_of_a_node_takes_one_at_a_time(self) -> None:
        def budgets(**given: Any) -> list[Object]:
            found = render({"workers": {"mail": {**WORK, **given}}}).all("PodDisruptionBudget")
            return [each["spec"] for each in found if component(each) == "mail"]

        (budget,) = budgets()
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"]["app.kubernetes.io/component"] == "mail"
        assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert budgets(disruption={"maxUnavailable": "50%"})[0]["maxUnavailable"] == "50%"
        assert budgets(disruption=None) == budgets(disruption={"maxUnavailable": None}) == []

    def test_it_scales_by_its_cpu(self) -> None:
        objects = render({"workers": {"mail": {**WORK, "autoscaling": {"maxReplicas": 5}}}})
        spec = objects.one("HorizontalPodAutoscaler", f"{NAME}-mail")["spec"]
        scaled = deployment(objects)
        assert spec["scaleTargetRef"] == {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": scaled["metadata"]["name"],
        }
        assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 5)
        (metric,) = spec["metrics"]
        assert metric["containerResource"]["container"] == container(scaled)["name"]
        assert metric["containerResource"]["target"]["averageUtilization"] == 70
        assert spec["behavior"] == objects.one("HorizontalPodAutoscaler")["spec"]["behavior"]
        assert "replicas" not in scaled["spec"]
        assert "annotations" not in scaled["metadata"]
        own_numbers = {"minReplicas": 2, "maxReplicas": 5, "targetCPUUtilizationPercentage": 50}
        spec = render({"workers": {"mail": {**WORK, "autoscaling": own_numbers}}}).one(
            "HorizontalPodAutoscaler", f"{NAME}-mail"
        )["spec"]
        assert spec["minReplicas"] == 2
        assert spec["metrics"][0]["containerResource"]["target"]["averageUtilization"] == 50

    def test_it_scales_by_its_queue_down_to_nothing(self) -> None:
        objects = render({"workers": {"mail": {**WORK, "keda": {"maxReplicas": 5, "triggers": [POSTGRESQL]}}}})
        spec = objects.one("ScaledObject", f"{NAME}-mail")["spec"]
        scaled = deployment(objects)
        assert spec["scaleTargetRef"] == {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": scaled["metadata"]["name"],
            "envSourceContainerName": container(scaled)["name"],
        }
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 5)
        assert (spec["pollingInterval"], spec["cooldownPeriod"]) == (15, 300)
        assert spec["triggers"] == [POSTGRESQL]
        assert spec["fallback"] == {"failureThreshold": 3, "replicas": 1, "behavior": "currentReplicasIfHigher"}
        assert spec["advanced"]["horizontalPodAutoscalerConfig"]["name"] == f"{NAME}-mail-keda"
        assert "replicas" not in scaled["spec"]
        assert [each["metadata"]["name"] for each in objects.all("HorizontalPodAutoscaler")] == [NAME]

    def test_numbers_of_keda(self) -> None:
        given = {"minReplicas": 2, "maxReplicas": 9, "pollingInterval": 5, "cooldownPeriod": 60, "triggers": [CPU]}
        spec = render({"workers": {"mail": {**WORK, "keda": given}}}).one("ScaledObject", f"{NAME}-mail")["spec"]
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 9)
        assert (spec["pollingInterval"], spec["cooldownPeriod"]) == (5, 60)
        # KEDA refuses one for what it asks the pods itself.
        assert "fallback" not in spec
        given["triggers"] = [CPU, POSTGRESQL]
        spec = render({"workers": {"mail": {**WORK, "keda": given}}}).one("ScaledObject", f"{NAME}-mail")["spec"]
        assert spec["fallback"]["replicas"] == 2


class TestCronJobs:
    def spec(self, **given: Any) -> Object:
        found: Object = render(of_cron_job(**given)).one("CronJob", f"{NAME}-night")["spec"]
        return found

    def test_when_and_how_often(self) -> None:
        spec = self.spec()
        del spec["jobTemplate"]
        assert spec == {
            "schedule": "0 3 * * *",
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 600,
            "suspend": False,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
        }

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("schedule", "@hourly"),
            ("timeZone", "America/Argentina/Buenos_Aires"),
            ("concurrencyPolicy", "Replace"),
            ("startingDeadlineSeconds", 3600),
            ("suspend", True),
            ("successfulJobsHistoryLimit", 0),
            ("failedJobsHistoryLimit", 0),
        ],
    )
    def test_each_can_be_set(self, key: str, value: object) -> None:
        assert self.spec(**{key: value})[key] == value

    def test_attempts_that_end_and_do_not_count_a_drained_node(self) -> None:
        spec = self.spec()["jobTemplate"]["spec"]
        assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (2, 3600)
        assert spec["podFailurePolicy"] == {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        }
        spec = self.spec(backoffLimit=0, activeDeadlineSeconds=60)["jobTemplate"]["spec"]
        assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 60)

    def test_its_jobs_are_found_by_its_labels(self) -> None:
        labels = self.spec()["jobTemplate"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/component"] == "night"


class TestJobs:
    def objects(self, values: Object | None = None, **given: Any) -> Objects:
        return render({**(values or {}), "jobs": {"report": {**ONCE, **given}}})

    def test_after_the_release_by_default(self) -> None:
        job = self.objects().one("Job", f"{NAME}-report")
        assert job["metadata"]["annotations"] == {
            "helm.sh/hook": "post-install,post-upgrade",
            "helm.sh/hook-weight": "1",
            "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
            "helm.sh/hook-output-log-policy": "hook-succeeded,hook-failed",
        }
        spec = job["spec"]
        assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (2, 240)
        assert spec["ttlSecondsAfterFinished"] == 86400
        assert spec["podFailurePolicy"]["rules"][0]["action"] == "Ignore"

    def test_numbers_of_its_own(self) -> None:
        given = {"backoffLimit": 0, "activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 600}
        job = render({"jobs": {"report": {**ONCE, **given, "weight": -4}}}).one("Job", f"{NAME}-report")
        assert job["metadata"]["annotations"]["helm.sh/hook-weight"] == "-4"
        assert given.items() <= job["spec"].items()

    def test_before_the_release_it_needs_none_of_its_objects(self) -> None:
        """As the migrations, after which it runs unless its weight says otherwise."""
        values: Object = {
            "config": {"X": "$(HOME)", "MODE": "api"},
            "serviceAccount": {"annotations": {"role": "links"}},
            "externalSecret": {"enabled": True, "storeRef": {"name": "vault"}, "dataFrom": [{"extract": {"key": "a"}}]},
            "networkPolicy": POLICY,
        }
        own_env = [{"name": "MODE", "value": "report"}]
        objects = self.objects(values, when="before", env=own_env)
        job = objects.one("Job", f"{NAME}-report")
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert "envFrom" not in container(job)
        assert env(job) == {**objects.one("ConfigMap", NAME)["data"], "X": "$$(HOME)", "MODE": "report"}
        spec = pod(job)
        needed = {
            ("ServiceAccount", spec["serviceAccountName"]),
            ("ExternalSecret", spec["volumes"][1]["secret"]["secretName"]),
            ("NetworkPolicy", f"{NAME}-report"),
        }
        for kind, name in needed:
            annotations = objects.one(kind, name)["metadata"]["annotations"]
            assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
            assert int(annotations["helm.sh/hook-weight"]) < int(job["metadata"]["annotations"]["helm.sh/hook-weight"])
        assert spec["automountServiceAccountToken"] is False

    def test_one_that_is_off_has_nothing_made_for_it(self) -> None:
        assert len(self.objects(when="before", enabled=False).all("ServiceAccount")) == 1
        assert len(self.objects().all("ServiceAccount")) == 1

    def test_a_policy_of_one_after_it_stays(self) -> None:
        policy = self.objects({"networkPolicy": POLICY}).one("NetworkPolicy", f"{NAME}-report")
        assert "annotations" not in policy["metadata"]


def of_worker(**given: Any) -> Object:
    return {"workers": {"mail": {**WORK, **given}}}


def of_cron_job(schedule: str = "0 3 * * *", **given: Any) -> Object:
    return {"cronJobs": {"night": {**NIGHTLY, "schedule": schedule, **given}}}


def noted(name: str) -> str:
    parts = (
        "app, canary, dashboard, extra, in-flight, keda, management, migrations, redirect, refused, retry, test, tls"
    )
    return f"{name} is called as a part of the chart is: use another name than {parts}, dashboard-… and …-keda"


def unnamed(name: str) -> str:
    return (
        f"{name} names no object and no container: write at most 30 lower-case letters, digits and -, "
        "that begin with a letter"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"workers": {"Mail": WORK}}, unnamed("workers.Mail")),
        ({"cronJobs": {"a.b": NIGHTLY}}, unnamed("cronJobs.a.b")),
        ({"jobs": {"n" * 31: ONCE}}, unnamed(f"jobs.{'n' * 31}")),
        ({"jobs": {"1st": {**ONCE, "enabled": False}}}, unnamed("jobs.1st")),
        *(({"workers": {name: WORK}}, noted(f"workers.{name}")) for name in ("app", "migrations", "test", "mail-keda")),
        ({"cronJobs": {"management": NIGHTLY}}, noted("cronJobs.management")),
        ({"jobs": {"dashboard-a": ONCE}}, noted("jobs.dashboard-a")),
        (
            {"workers": {"mail": WORK}, "jobs": {"mail": ONCE}},
            "jobs.mail is called as workers.mail is, and objects of both would have one name: use another name",
        ),
        (
            {"workers": {"mail": {}}},
            "workers.mail.args is empty, so it would start the server: write what the image is to do, such as [work]",
        ),
        (
            {"jobs": {"mail": {"args": []}}},
            "jobs.mail.args is empty, so it would start the server and never end: "
            "write what the image is to do, such as [clean-up]",
        ),
        (
            of_worker(image={"tag": "1"}),
            "workers.mail.image.repository is empty: "
            "name the image to run, or leave out workers.mail.image for that of the app",
        ),
        (
            of_worker(image={"repository": "a/b:1"}),
            'workers.mail.image.repository "a/b:1" holds a tag or digest: '
            "write it as workers.mail.image.tag or workers.mail.image.digest",
        ),
        (
            of_worker(image={"repository": "a/b"}),
            "workers.mail.image has no version: set workers.mail.image.tag or workers.mail.image.digest",
        ),
        (
            of_worker(image={"repository": "a/b", "digest": "sha256:1"}),
            'workers.mail.image.digest "sha256:1" is no digest: write sha256: and its 64 hexadecimal digits',
        ),
        (
            of_worker(initContainers=[{"name": "mail", "image": "a"}]),
            "workers.mail.initContainers has a container mail, of which the pod has one already: use another name",
        ),
        (
            of_worker(podLabels={"app.kubernetes.io/component": "app"}),
            "workers.mail.podLabels has app.kubernetes.io/component, by which the chart finds its objects: "
            "use a label of your own",
        ),
        (
            of_worker(env=[{"name": "APP_DRAIN_TIMEOUT_SECONDS", "value": "1"}]),
            "workers.mail.env has APP_DRAIN_TIMEOUT_SECONDS, which is set by the chart: "
            "set workers.mail.drainSeconds instead",
        ),
        (
            {"jobs": {"mail": {**ONCE, "env": [{"name": "APP_PORT", "value": "1"}]}}},
            "jobs.mail.env has APP_PORT, which is set by the chart: set ports.http instead",
        ),
        (
            of_worker(env=[{"name": "A", "value": "1"}] * 2),
            "workers.mail.env has A twice: write it once",
        ),
        (
            of_worker(autoscaling={"maxReplicas": 2}, keda={"maxReplicas": 2, "triggers": [POSTGRESQL]}),
            "workers.mail.autoscaling and workers.mail.keda would pull at the number of pods from two sides: "
            "keep one, and set the other to null",
        ),
        (
            of_worker(autoscaling={"minReplicas": 3, "maxReplicas": 2}),
            "workers.mail.autoscaling.minReplicas 3 is above its maxReplicas 2: lower the one or raise the other",
        ),
        (
            of_worker(keda={"minReplicas": 3, "maxReplicas": 2, "triggers": [POSTGRESQL]}),
            "workers.mail.keda.minReplicas 3 is above its maxReplicas 2: lower the one or raise the other",
        ),
        (
            of_worker(autoscaling={"maxReplicas": 2}, resources={"limits": {"memory": "1Gi"}}),
            "workers.mail.autoscaling follows a percentage of the CPU request, and there is none: "
            "set workers.mail.resources.requests.cpu",
        ),
        (
            of_worker(keda={"maxReplicas": 2, "triggers": [CPU]}),
            "workers.mail.keda has triggers that ask the pods alone, and without pods nothing would start one: "
            "set workers.mail.keda.minReplicas to at least 1",
        ),
        (
            of_worker(disruption={"maxUnavailable": "0%"}),
            "workers.mail.disruption.maxUnavailable 0% stops every node drain: write at least 1",
        ),
        (
            {**of_worker(metrics=True), "networkPolicy": {"enabled": True, "ingress": {"http": [MONITORING]}}},
            "workers.mail.metrics could not be read, as networkPolicy.ingress.management is empty: name Prometheus's "
            "pods, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]",
        ),
        (
            of_worker(probes={"liveness": {"exec": {"command": ["a"]}, "tcpSocket": {}}}),
            "workers.mail.probes.liveness.exec and workers.mail.probes.liveness.tcpSocket are ways for one probe to "
            "ask: set one of them, and the others to null",
        ),
        (
            of_worker(probes={"liveness": {"path": None, "httpGet": {"port": 1}}}),
            "workers.mail.probes.liveness asks for no path: set workers.mail.probes.liveness.path, "
            "workers.mail.probes.liveness.exec, workers.mail.probes.liveness.grpc or "
            "workers.mail.probes.liveness.tcpSocket",
        ),
        (
            of_worker(probes={"liveness": {"tcpSocket": {"port": "http"}}}),
            "workers.mail.probes.liveness.tcpSocket.port http is where users are served, and a worker serves none: "
            "write management or a number",
        ),
        (
            of_cron_job("CRON_TZ=Europe/Berlin 0 3 * * *"),
            'cronJobs.night.schedule "CRON_TZ=Europe/Berlin 0 3 * * *" has a time zone in it: '
            "set cronJobs.night.timeZone",
        ),
        *(
            (
                of_cron_job(schedule),
                f'cronJobs.night.schedule "{schedule}" is no schedule: write minute, hour, day, month and day of the '
                'week, such as "0 3 * * *"',
            )
            for schedule in ("0 3 * *", "0 3 * * * *", "@often", "")
        ),
        *(
            (
                of_cron_job(schedule),
                f'cronJobs.night.schedule "{schedule}" is for a day that never comes: '
                f"those months have {longest} days at most",
            )
            for schedule, longest in (
                ("0 0 31 2 *", 29),
                ("0 0 31 FEB *", 29),
                ("0 0 30,31 2 *", 29),
                ("0 0 30-31 2 *", 29),
                ("0 0 30/1 feb ?", 29),
                ("0 0 31 2-2 *", 29),
                ("0 0 31 04,6,09 *", 30),
                ("0 0 31 Apr,jun *", 30),
                ("0 0 31 2-6/2 *", 30),
                ("0 0 31 9/2 *", 30),
            )
        ),
        ({"cronJobs": {"night": ONCE}}, "at '/cronJobs/night': missing property 'schedule'"),
        (
            of_cron_job("@daily", startingDeadlineSeconds=5),
            "at '/cronJobs/night/startingDeadlineSeconds': minimum: got 5, want 10",
        ),
        (
            of_worker(keda={"maxReplicas": 1, "triggers": []}),
            "at '/workers/mail/keda/triggers': minItems: got 0, want 1",
        ),
        (of_worker(schedule="@daily"), "at '/workers/mail': additional properties 'schedule' not allowed"),
        ({"jobs": {"mail": {**ONCE, "weight": -5}}}, "at '/jobs/mail/weight': minimum: got -5, want -4"),
    ],
)
def test_what_cannot_work_is_explained(values: Object, message: str) -> None:
    assert refusal(values) == [message]


@pytest.mark.parametrize(
    "schedule",
    [
        "0 0 29 2 *",
        "0 0 28-31 2 *",
        "0 0 31,1 FEB *",
        "0 0 1,31 FEB *",
        "0 0 */31 2 *",
        "0 0 31 1,2 *",
        "0 0 31 2,3 *",
        "0 0 31 FEB-MAR *",
        "0 0 31 08-09 *",
        "0 0 31 2/3 *",
        "0 0 31 */2 *",
        "0 0 31 2 1",
        "*/5 1-5 * JAN-MAR mon",
        "@monthly",
    ],
)
def test_schedules_that_come(schedule: str) -> None:
    assert render(of_cron_job(schedule)).one("CronJob", f"{NAME}-night")["spec"]["schedule"] == schedule


def test_what_is_off_must_work_where_it_is_switched_on() -> None:
    assert len(refusal(of_cron_job("never", enabled=False))) == 1


def test_the_readme_has_each_value() -> None:
    text = (CHART / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Workers, cron jobs and jobs\n")[2].partition("\n## ")[0]
    for definition in ("worker", "cronJob", "job"):
        keys = own(SCHEMA["definitions"][definition])
        assert len(keys) > 10
        assert [key for key in keys if f"`{key}`" not in section] == []


def test_the_readme_s_values_work() -> None:
    text = (CHART / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Workers, cron jobs and jobs\n")[2].partition("\n## ")[0]
    blocks = [each.partition("```")[0] for each in section.split("```yaml\n")[1:]]
    assert blocks
    for block in blocks:
        objects = render(yaml.safe_load(block))
        assert {component(each) for each in objects} - {*COMPONENTS}


def test_no_two_have_one_name() -> None:
    objects = render(None, CHART / "ci" / "everything-values.yaml")
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert [each for each, again in itertools.pairwise(sorted(names)) if each == again] == []
