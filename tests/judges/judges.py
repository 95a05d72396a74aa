"""Who judges, and what each must find in what is bad."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.judges import bandit, checkov, hadolint, helm_lint, history, kube_score, kubeconform, kubectl_validate, trivy
from tests.judges.scenarios import NAMES, Manifests
from tests.judges.tools import Tools
from tests.judges.verdict import Verdicts


@dataclass(frozen=True)
class Judge:
    """`sees` are check and object of findings in the bad scenario."""

    judge: Callable[[Tools, Manifests], Verdicts]
    sees: set[tuple[str, str]]
    scenarios: tuple[str, ...] = tuple(NAMES)


ON_THE_CLUSTER = {"testssl"}  # asked by tests/e2e/test_judges.py
JUDGES = {
    "kubeconform": Judge(
        kubeconform.judge,
        {("invalid", "Deployment/bad"), ("invalid", "ServiceMonitor/bad"), ("no-schema", "Nonsense/bad")},
    ),
    "kubectl-validate": Judge(
        kubectl_validate.judge,
        {("invalid", "Deployment/bad"), ("invalid", "ServiceMonitor/bad"), ("no-schema", "Nonsense/bad")},
    ),
    "kube-score": Judge(kube_score.judge, {("container-resources", "Deployment/bad")}),
    "trivy": Judge(trivy.judge, {("KSV-0017", "Deployment/bad"), ("KSV-0109", "ConfigMap/bad-config")}),
    "checkov": Judge(checkov.judge, {("CKV_K8S_16", "Deployment/bad"), ("CKV2_K8S_6", "Pod/bad")}),
    "hadolint": Judge(hadolint.judge, {("DL3007", "tests/judges/bad/Dockerfile")}, tuple(hadolint.NAMES)),
    "helm lint": Judge(helm_lint.judge, {("error", "fastapi-service")}),
    "bandit": Judge(bandit.judge, {("B602", "runs.py")}, bandit.FOLDERS),
    "secrets": Judge(history.judge, {("CKV_SECRET_2", history.PLANTED)}, (history.HISTORY,)),
}
