"""What the account of a pipeline may do: enough for whatever the chart can render, and nothing beside it."""

import re
from typing import Any

import yaml

from delivery.gitops import ENVIRONMENTS
from toolkit.paths import CHART

ROLES: list[dict[str, Any]] = [
    each
    for each in yaml.safe_load_all((ENVIRONMENTS / "access" / "deployer.yaml").read_text(encoding="utf-8"))
    if each["kind"] == "Role"
]
WHOLE = {"get", "list", "watch", "create", "update", "patch", "delete"}
# The lock, and what the pods say.
BESIDE = {"coordination.k8s.io/leases", "/pods/log", "apps/replicasets"}
# Whoever may give rights has those of all who can be given them.
RIGHTS = {
    f"rbac.authorization.k8s.io/{kind}" for kind in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")
}


def plural(kind: str) -> str:
    """Of a kind, the resource of the API."""
    name = kind.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}es" if name.endswith("ss") else f"{name}s"


def rendered() -> set[str]:
    """group/resource of every object in the templates."""
    texts = (file.read_text(encoding="utf-8") for file in (CHART / "templates").rglob("*.*"))
    found = (re.findall(r"^apiVersion: (\S+)\nkind: (\w+)$", text, flags=re.M) for text in texts)
    return {f"{version.rpartition('/')[0]}/{plural(kind)}" for each in found for version, kind in each}


def given(role: dict[str, Any]) -> dict[str, set[str]]:
    return {
        f"{group}/{resource}": set(r["verbs"])
        for r in role["rules"]
        for group in r["apiGroups"]
        for resource in r["resources"]
    }


def test_a_pipeline_may_deploy_whatever_the_chart_renders_but_rights() -> None:
    wanted = rendered() - RIGHTS
    assert len(wanted) > 15
    rights = given(ROLES[0])
    assert {name for name in wanted if rights.get(name) != WHOLE} == set()


def test_and_nothing_else() -> None:
    assert set(given(ROLES[0])) - rendered() == BESIDE
    assert "*" not in str(ROLES)
    assert [(role["metadata"]["namespace"], given(role)) for role in ROLES[1:]] == [
        ("monitoring", {"/services/proxy": {"get"}})
    ]
