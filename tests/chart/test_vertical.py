"""The VerticalPodAutoscaler, which recommends and changes nothing."""

from .helm import render


def test_off_by_default() -> None:
    assert not render().all("VerticalPodAutoscaler")


def test_it_recommends_for_the_apps_container_alone() -> None:
    objects = render({"verticalPodAutoscaler": {"enabled": True}, "extraContainers": [{"name": "a", "image": "a"}]})
    spec = objects.one("VerticalPodAutoscaler")["spec"]
    deployment = objects.one("Deployment")
    assert spec["targetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "name": deployment["metadata"]["name"],
    }
    assert spec["updatePolicy"] == {"updateMode": "Off"}
    assert spec["resourcePolicy"]["containerPolicies"] == [
        {"containerName": "app", "controlledResources": ["cpu", "memory"]},
        {"containerName": "*", "mode": "Off"},
    ]
