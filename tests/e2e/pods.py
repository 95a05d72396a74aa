"""The service's pods: which there are, what they are at, and what they say."""

from kubernetes import client

from k8s import up
from k8s.service import NAMESPACE
from toolkit.process import output, run

PODS = "app.kubernetes.io/instance=links,app.kubernetes.io/component=app"
FEWEST = 3  # pods, by the chart's defaults
# APP_CACHE_SECONDS, and a second for the request itself on a busy machine.
STALE_SECONDS = 5 + 1


def pod_names(core: client.CoreV1Api) -> list[str]:
    """Of those that are to stay."""
    pods = core.list_namespaced_pod(NAMESPACE, label_selector=PODS).items
    return [pod.metadata.name for pod in pods if pod.metadata.deletion_timestamp is None]


def restarts(core: client.CoreV1Api) -> dict[str, int]:
    """Of each pod."""
    pods = core.list_namespaced_pod(NAMESPACE, label_selector=PODS).items
    return {pod.metadata.name: sum(s.restart_count for s in pod.status.container_statuses or []) for pod in pods}


def management(core: client.CoreV1Api, pod: str, path: str) -> str:
    """What a pod's management port answers, through the API server; as it is, of which the client would make a dict."""
    answer = core.connect_get_namespaced_pod_proxy_with_path(f"{pod}:9000", NAMESPACE, path, _preload_content=False)
    text: str = answer.data.decode()
    return text


def deployment_is_settled(apps: client.AppsV1Api, core: client.CoreV1Api) -> bool:
    """All pods are of the present revision and ready, those before them are gone, and none is missing.

    A first install begins with one; the autoscaler makes the others.
    """
    found = apps.read_namespaced_deployment("links", NAMESPACE)
    pods = core.list_namespaced_pod(NAMESPACE, label_selector=PODS).items
    wanted, status = found.spec.replicas, found.status
    return bool(
        wanted >= FEWEST
        and status.observed_generation == found.metadata.generation
        and status.updated_replicas == wanted
        and status.ready_replicas == wanted
        and len(pods) == wanted
        and not any(p.metadata.deletion_timestamp for p in pods)
    )


def signal(pod: client.V1Pod, name: str) -> None:
    """Send a signal to all processes of a pod's container."""
    on_node(pod, f"kill -{name} {_processes(pod)}")


def kill(pod: client.V1Pod) -> None:
    """End the container's processes as the kernel does when memory is out: without a word."""
    signal(pod, "KILL")


def in_network(pod: client.V1Pod, command: str) -> None:
    """Run a command of the node in the network that the pod has."""
    on_node(pod, f"nsenter --target $(echo {_processes(pod)} | cut -d' ' -f1) --net {command}")


def on_node(pod: client.V1Pod, script: str) -> None:
    """Run a script on the node that a pod is on."""
    run(["docker", "exec", pod.spec.node_name, "sh", "-c", script], log="e2e-nodes")


def _identity(pod: client.V1Pod) -> str:
    """Of the container."""
    (status,) = pod.status.container_statuses
    return str(status.container_id.rpartition("/")[2])


def _processes(pod: client.V1Pod) -> str:
    """For a script on its node: the ids of the container's processes."""
    return f"$(grep -ls {_identity(pod)} /proc/[0-9]*/cgroup | cut -d/ -f3)"


def starve(pod: client.V1Pod) -> None:
    """Lower the memory that the container may have to what it has: the kernel then kills what asks for more."""
    script = f"""
        for group in $(find /sys/fs/cgroup -type d -name '*{_identity(pod)}*'); do
          if [ -f $group/memory.max ]; then cat $group/memory.current > $group/memory.max
          elif [ -f $group/memory.limit_in_bytes ]; then cat $group/memory.usage_in_bytes > $group/memory.limit_in_bytes
          fi || true  # what it has may be more by now
        done
    """
    on_node(pod, script)


def drain_each_worker(stack: up.Stack, namespace: str, *deployments: str) -> None:
    """Drain one node after the other, each until the pods are back; the second is the one that all pods fled to."""
    for worker in [node for node in stack.cluster.nodes if node != stack.cluster.control_plane]:
        drain = ["drain", worker, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s"]
        run([*stack.cluster.kubectl, *drain], log="e2e-drain")
        pods = ["--namespace", namespace, "get", "pods", f"--field-selector=spec.nodeName={worker}", "--output=name"]
        assert not output([*stack.cluster.kubectl, *pods]), f"pods are still on {worker}"
        for name in deployments:
            status = ["--namespace", namespace, "rollout", "status", f"deployment/{name}", "--timeout=90s"]
            run([*stack.cluster.kubectl, *status], log="e2e-drain")
        output([*stack.cluster.kubectl, "uncordon", worker])
