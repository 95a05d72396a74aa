from typing import Any

import pytest

from .helm import CHART, DIGEST, Objects, pod, refusal, render


def test_a_rollout_keeps_the_whole_capacity() -> None:
    spec = render().one("Deployment")["spec"]
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"},
    }
    assert (spec["minReadySeconds"], spec["progressDeadlineSeconds"], spec["revisionHistoryLimit"]) == (
        5,
        240,
        3,
    )


def test_all_pods_end_before_new_ones_begin_where_two_cannot_share() -> None:
    assert render({"strategy": "Recreate"}).one("Deployment")["spec"]["strategy"] == {"type": "Recreate"}


def test_the_autoscaler_alone_sets_the_number_of_pods() -> None:
    assert "replicas" not in render().one("Deployment")["spec"]


@pytest.mark.parametrize("replicas", [0, 1, 5])
def test_a_fixed_number_of_pods(replicas: int) -> None:
    objects = render({"autoscaling": {"enabled": False}, "replicas": replicas})
    assert objects.one("Deployment")["spec"]["replicas"] == replicas


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "registry.example.com/team/app:0.1.0"),
        ({"tag": "1.2"}, "registry.example.com/team/app:1.2"),
        ({"digest": DIGEST}, f"registry.example.com/team/app@{DIGEST}"),
        ({"tag": "1.2", "digest": DIGEST}, f"registry.example.com/team/app@{DIGEST}"),
        ({"repository": "localhost:5000/app", "tag": "1"}, "localhost:5000/app:1"),
    ],
)
def test_the_image_is_named_by_digest_or_tag(image: dict[str, str], reference: str) -> None:
    objects = render({"image": image, "migrations": {"enabled": True}})
    assert objects.container["image"] == reference
    assert pod(objects.one("Job"))["containers"][0]["image"] == reference


def test_pulling_the_image() -> None:
    assert render().container["imagePullPolicy"] == "IfNotPresent"
    assert "imagePullSecrets" not in pod(render().one("Deployment"))

    objects = render({"image": {"pullPolicy": "Always", "pullSecrets": [{"name": "registry"}]}})
    assert objects.container["imagePullPolicy"] == "Always"
    assert pod(objects.one("Deployment"))["imagePullSecrets"] == [{"name": "registry"}]


def test_the_image_decides_what_to_run() -> None:
    assert not {"command", "args"} & render().container.keys()
    container = render({"command": ["uvicorn"], "args": ["other:app"]}).container
    assert (container["command"], container["args"]) == (["uvicorn"], ["other:app"])


class TestDrain:
    """A pod serves on until the endpoints have noticed, then finishes what is in flight."""

    @staticmethod
    def grace(objects: Objects) -> int:
        seconds: int = pod(objects.one("Deployment"))["terminationGracePeriodSeconds"]
        return seconds

    @pytest.mark.parametrize(("delay", "timeout", "grace"), [(5, 25, 35), (1, 0, 6), (60, 600, 665)])
    def test_all_times_follow_from_two(self, delay: int, timeout: int, grace: int) -> None:
        objects = render({"drain": {"endpointDelaySeconds": delay, "timeoutSeconds": timeout}})
        assert objects.container["lifecycle"] == {"preStop": {"sleep": {"seconds": delay}}}
        assert self.grace(objects) == grace
        assert objects.one("ConfigMap", "demo-fastapi-service")["data"]["APP_DRAIN_TIMEOUT_SECONDS"] == str(timeout)

    def test_the_defaults(self) -> None:
        assert render().container["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
        assert self.grace(render()) == 35

    @pytest.mark.parametrize("delay", [0, 5])
    def test_the_app_never_waits_a_second_time(self, delay: int) -> None:
        objects = render({"drain": {"endpointDelaySeconds": delay}})
        assert objects.one("ConfigMap", "demo-fastapi-service")["data"]["APP_DRAIN_DELAY_SECONDS"] == "2"

    def test_no_hook_sleeps_for_zero_seconds(self) -> None:
        objects = render({"drain": {"endpointDelaySeconds": 0}})
        assert "lifecycle" not in objects.container
        assert self.grace(objects) == 30

    def test_what_runs_at_the_start_is_beside_it(self) -> None:
        hook = {"exec": {"command": ["warm-up"]}}
        objects = render({"lifecycle": {"postStart": hook}})
        assert objects.container["lifecycle"] == {"postStart": hook, "preStop": {"sleep": {"seconds": 5}}}

    def test_what_runs_before_the_end_takes_its_place(self) -> None:
        hook = {"exec": {"command": ["leave"]}}
        objects = render({"lifecycle": {"preStop": hook}, "drain": {"endpointDelaySeconds": 0, "timeoutSeconds": 40}})
        assert objects.container["lifecycle"] == {"preStop": hook}
        assert self.grace(objects) == 45

    @pytest.mark.parametrize(
        ("hook", "message"),
        [
            (
                {"exec": {"command": ["leave"]}},
                "lifecycle.preStop would take the place of the sleep of drain.endpointDelaySeconds, in which endpoints "
                "notice that the pod ends: set that to 0 and have the handler wait instead, "
                "within drain.timeoutSeconds",
            ),
            (
                {"sleep": {"seconds": 10}},
                "lifecycle.preStop sleeps, which the chart does itself: set drain.endpointDelaySeconds to the seconds, "
                "and leave lifecycle.preStop empty",
            ),
        ],
    )
    def test_it_is_never_lost_by_chance(self, hook: dict[str, Any], message: str) -> None:
        assert refusal({"lifecycle": {"preStop": hook}}) == [message]


class TestProbes:
    @pytest.mark.parametrize(
        ("probe", "path"), [("startup", "/startupz"), ("readiness", "/readyz"), ("liveness", "/livez")]
    )
    def test_each_asks_the_management_port(self, probe: str, path: str) -> None:
        container = render({"ports": {"management": 9100}}).container
        assert container[f"{probe}Probe"]["httpGet"] == {"path": path, "port": "management"}
        assert {"name": "management", "containerPort": 9100} in container["ports"]

    def test_starting_is_noticed_at_once_and_may_take_a_minute(self) -> None:
        probe = render().container["startupProbe"]
        assert probe["periodSeconds"] == 1
        assert probe["periodSeconds"] * probe["failureThreshold"] >= 60

    def test_a_pod_that_is_not_ready_leaves_before_one_that_hangs_is_restarted(self) -> None:
        ready, live = (render().container[f"{probe}Probe"] for probe in ("readiness", "liveness"))
        assert ready["periodSeconds"] <= 5
        assert ready["periodSeconds"] * ready["failureThreshold"] <= 10
        assert live["periodSeconds"] * live["failureThreshold"] >= 60

    @pytest.mark.parametrize("probe", ["startup", "readiness", "liveness"])
    def test_each_can_be_tuned(self, probe: str) -> None:
        tuned = {"path": "/other", "periodSeconds": 7, "timeoutSeconds": 6, "failureThreshold": 5}
        container = render({"probes": {probe: tuned}}).container
        path = tuned.pop("path")
        assert container[f"{probe}Probe"] == {"httpGet": {"path": path, "port": "management"}, **tuned}


def test_requests_and_a_memory_limit_but_no_cpu_limit() -> None:
    assert render().container["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"memory": "256Mi"},
    }
    assert "resources" not in render({"resources": None, "autoscaling": {"enabled": False}}).container


def test_the_ports_of_the_container() -> None:
    assert render({"ports": {"http": 8080, "management": 9090}}).container["ports"] == [
        {"name": "http", "containerPort": 8080},
        {"name": "management", "containerPort": 9090},
    ]


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_what_holds_of_pods_of_both_kinds(kind: str) -> None:
    spec = pod(render({"migrations": {"enabled": True}}).one(kind))
    assert spec["enableServiceLinks"] is False, "variables named after other services are no configuration"
    assert spec["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"


OWN = {"app.kubernetes.io/name": "fastapi-service", "app.kubernetes.io/instance": "demo"}


class TestSpread:
    def test_over_nodes_and_zones_softly_each_revision_for_itself(self) -> None:
        constraints = pod(render().one("Deployment"))["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in constraints] == [
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
        ]
        for each in constraints:
            assert (each["maxSkew"], each["whenUnsatisfiable"]) == (1, "ScheduleAnyway")
            assert each["matchLabelKeys"] == ["pod-template-hash"]
            assert each["labelSelector"]["matchLabels"] == {**OWN, "app.kubernetes.io/component": "app"}

    def test_own_selectors_and_keys_are_kept(self) -> None:
        by_selector = {"topologyKey": "a", "labelSelector": {"matchLabels": {"b": "c"}}}
        by_keys = {"topologyKey": "d", "matchLabelKeys": ["e"]}
        objects = render({"topologySpreadConstraints": [by_selector, by_keys]})
        first, second = pod(objects.one("Deployment"))["topologySpreadConstraints"]
        assert first == by_selector
        assert second["matchLabelKeys"] == ["e"]
        assert second["labelSelector"]["matchLabels"].items() >= OWN.items()

    def test_none(self) -> None:
        assert "topologySpreadConstraints" not in pod(render({"topologySpreadConstraints": []}).one("Deployment"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nodeSelector", {"kubernetes.io/os": "linux"}),
        ("tolerations", [{"key": "dedicated", "operator": "Exists"}]),
        ("priorityClassName", "web-high"),
    ],
)
def test_where_pods_run(name: str, value: object) -> None:
    assert name not in pod(render().one("Deployment"))
    assert pod(render({name: value}).one("Deployment"))[name] == value


class TestAffinity:
    """Spread and anti-affinity are both wishes; together they outweigh where an image has been pulled already."""

    @staticmethod
    def affinity(**values: Any) -> Any:
        return pod(render(values).one("Deployment")).get("affinity")

    def test_nodes_and_zones_without_a_pod_of_the_same_revision_are_preferred(self) -> None:
        affinity = self.affinity()
        assert affinity.keys() == {"podAntiAffinity"}
        (terms,) = affinity["podAntiAffinity"].values()
        assert affinity["podAntiAffinity"].keys() == {"preferredDuringSchedulingIgnoredDuringExecution"}
        assert [(each["weight"], each["podAffinityTerm"]["topologyKey"]) for each in terms] == [
            (100, "kubernetes.io/hostname"),
            (50, "topology.kubernetes.io/zone"),
        ]
        for each in terms:
            assert each["podAffinityTerm"]["matchLabelKeys"] == ["pod-template-hash"]
            assert each["podAffinityTerm"]["labelSelector"]["matchLabels"] == {
                **OWN,
                "app.kubernetes.io/component": "app",
            }

    def test_it_can_be_turned_off(self) -> None:
        assert self.affinity(softAntiAffinity=False) is None

    def test_other_affinity_is_added_and_an_own_one_takes_its_place(self) -> None:
        assert self.affinity(affinity={"nodeAffinity": {}}).keys() == {"nodeAffinity", "podAntiAffinity"}
        own: dict[str, Any] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}}
        assert self.affinity(affinity=own) == own


def test_annotations_and_labels_of_the_deployment_and_its_pods() -> None:
    assert "annotations" not in render().one("Deployment")["metadata"]

    deployment = render(
        {
            "deploymentAnnotations": {"on": "deployment"},
            "podAnnotations": {"on": "pod"},
            "podLabels": {"tier": "web"},
        }
    ).one("Deployment")
    assert deployment["metadata"]["annotations"] == {"on": "deployment"}
    assert "tier" not in deployment["metadata"]["labels"]
    assert deployment["spec"]["template"]["metadata"]["annotations"]["on"] == "pod"
    assert deployment["spec"]["template"]["metadata"]["labels"]["tier"] == "web"


EVERYTHING = CHART / "ci" / "everything-values.yaml"
# What podSpec has there.
MORE, MORE_OF_THE_APP = {"schedulerName", "hostUsers"}, {"workingDir"}


class TestMoreOfThePod:
    def test_what_has_no_value_is_added(self) -> None:
        more = {"readinessGates": [{"conditionType": "example.com/attached"}], "shareProcessNamespace": True}
        assert pod(render({"podSpec": more}).one("Deployment")) == {**pod(render().one("Deployment")), **more}

    def test_so_is_what_the_container_has_no_value_for(self) -> None:
        container = render({"podSpec": {"containers": [{"name": "app", "workingDir": "/srv"}]}}).container
        assert container == {**render().container, "workingDir": "/srv"}

    def test_the_migrations_do_not_have_it(self) -> None:
        job = pod(render({"podSpec": {"schedulerName": "second"}, "migrations": {"enabled": True}}).one("Job"))
        assert "schedulerName" not in job

    @pytest.mark.parametrize("key", sorted(pod(render(None, EVERYTHING).one("Deployment")).keys() - MORE))
    def test_nothing_that_the_chart_writes_can_be_replaced(self, key: str) -> None:
        if key == "containers":
            (line,) = refusal({"podSpec": {"containers": [{"name": "other", "image": "a"}]}})[:1]
        else:
            (line,) = refusal({"podSpec": {key: "any"}})
        assert line.startswith(f"podSpec.{key}")

    @pytest.mark.parametrize(
        "key",
        sorted(pod(render(None, EVERYTHING).one("Deployment"))["containers"][0].keys() - MORE_OF_THE_APP - {"name"}),
    )
    def test_nor_anything_of_the_container(self, key: str) -> None:
        (line,) = refusal({"podSpec": {"containers": [{"name": "app", key: "any"}]}})
        assert line.startswith(f"podSpec.containers[0].{key} is no value here: ")

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            (
                {"hostNetwork": True},
                "podSpec.hostNetwork is no value here: "
                "pods in the network of their node are beyond every network policy",
            ),
            ({"hostPID": True}, 'podSpec.hostPID is no value here: the Pod Security Standard "restricted" forbids it'),
            (
                {"terminationGracePeriodSeconds": 1},
                "podSpec.terminationGracePeriodSeconds is no value here: set drain.endpointDelaySeconds and "
                "drain.timeoutSeconds (of which it is the sum and 5 s)",
            ),
            ({"securityContext": {}}, "podSpec.securityContext is no value here: set podSecurityContext"),
            (
                {"containers": [{"name": "app", "livenessProbe": None, "readinessProbe": {}}]},
                "podSpec.containers[0].readinessProbe is no value here: set probes.readiness",
            ),
            (
                {"containers": [{"name": "logs", "stdin": True}]},
                "podSpec.containers[0] is not called app, which is the one to be changed: "
                "write another container into extraContainers",
            ),
            (
                {"containers": [{"name": "app", "stdin": True}, {"name": "app", "tty": True}]},
                "podSpec.containers[1] is called app too: put both together",
            ),
            ({"containers": {"app": {}}}, "at '/podSpec/containers': got object, want array"),
            ({"containers": [{"image": "a"}]}, "at '/podSpec/containers/0': missing property 'name'"),
        ],
    )
    def test_what_would_undo_a_promise_is_named(self, spec: dict[str, Any], message: str) -> None:
        assert refusal({"podSpec": spec}) == [message]
