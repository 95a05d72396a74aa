"""What the pods' ServiceAccount may do."""

from typing import Any

import pytest

from .helm import Object, refusal, render

LEASES = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "update"]}
NODES = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}
HEALTH = {"nonResourceURLs": ["/healthz"], "verbs": ["get"]}
TOKEN = {"automountToken": True}
KINDS = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


def test_nothing_without_being_asked() -> None:
    objects = render({"serviceAccount": TOKEN})
    assert not [each for each in objects if each["kind"] in KINDS]


@pytest.mark.parametrize(
    ("value", "rules", "kind", "name"),
    [
        ("rules", [LEASES], "Role", "demo-fastapi-service"),
        ("clusterRules", [NODES, HEALTH], "ClusterRole", "prod-demo-fastapi-service"),
    ],
)
def test_rules_are_for_the_pods_account(value: str, rules: list[Object], kind: str, name: str) -> None:
    values = {"rbac": {value: rules}, "serviceAccount": {**TOKEN, "name": "links"}}
    objects = render(values, options=("--namespace=prod",))
    assert objects.one(kind, name)["rules"] == rules
    binding = objects.one(f"{kind}Binding", name)
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "links", "namespace": "prod"}]
    assert {each["kind"] for each in objects if each["kind"] in KINDS} == {kind, f"{kind}Binding"}


def test_an_account_that_exists() -> None:
    objects = render({"rbac": {"rules": [LEASES]}, "serviceAccount": {**TOKEN, "create": False, "name": "links"}})
    assert objects.one("RoleBinding")["subjects"][0]["name"] == "links"


def test_a_token_of_ones_own_will_do() -> None:
    token = {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    assert render({"rbac": {"rules": [LEASES]}, "extraVolumes": [token]}).one("Role")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"rbac": {"rules": [HEALTH]}},
            "rbac.rules[0] has nonResourceURLs, which are in no namespace: write it as one of rbac.clusterRules",
        ),
        (
            {"rbac": {"rules": [{"verbs": ["get"]}]}},
            "rbac has a rule without resources: list them, such as [configmaps]",
        ),
        (
            {"rbac": {"clusterRules": [{"resources": ["nodes", "pods"], "verbs": ["get"]}]}},
            'rbac has a rule for nodes, pods without apiGroups: list the groups, [""] for those of Kubernetes\'s core',
        ),
        (
            {"rbac": {"rules": [LEASES]}, "serviceAccount": {**TOKEN, "create": False}},
            "rbac would give its rules to the namespace's default account, which other pods have too: "
            "set serviceAccount.create to true, or serviceAccount.name",
        ),
        (
            {"rbac": {"clusterRules": [NODES]}, "serviceAccount": {}},
            "rbac gives rules to an account whose token the pods do not have: "
            "set serviceAccount.automountToken to true",
        ),
        ({"rbac": {"rules": [{"resources": ["pods"]}]}}, "at '/rbac/rules/0': missing property 'verbs'"),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    assert refusal({"serviceAccount": TOKEN, **values}) == [message]
