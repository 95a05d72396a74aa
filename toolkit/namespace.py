"""The namespace of a release."""


def manifest(name: str) -> dict[str, object]:
    """A namespace whose pods must meet Kubernetes' strictest standard, as the chart's do."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
