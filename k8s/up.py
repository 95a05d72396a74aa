"""`make up` and `make down`: everything from a bare host to a served request, and back."""

import json
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from k8s.kind import host
from k8s.kind.cluster import Cluster
from k8s.platform.apply import Platform
from k8s.service import LocalRelease
from offline import engine, registry, sources
from offline.image_build import Built, build_image
from offline.images import Images
from offline.registry import Registry
from toolkit import versions
from toolkit.exclusive import exclusive_run
from toolkit.paths import BUILD, ROOT, cache
from toolkit.process import Failure, output
from toolkit.programs import Programs
from toolkit.progress import Progress


@dataclass
class Stack:
    """A running cluster with everything on it."""

    cluster: Cluster
    registry: Registry
    platform: Platform
    service: LocalRelease
    image: Built


def alone() -> AbstractContextManager[None]:
    """One run at a time on this host: two would build the same things, and trip over one another's clusters."""
    return exclusive_run(cache() / "lock", "Another run of this project is at work on this host: wait until it ends.")


def survey(progress: Progress) -> tuple[versions.Versions, sources.Source]:
    """What is wanted, whether it is pulled or built, and an engine that answers. Raises Failure where this host lacks
    something."""
    wanted = versions.load()
    with progress.step("look whether image registries answer") as step:
        source = sources.decide(wanted.registries)
        step.detail = "images are pulled" if source is sources.Source.PULL else "no: images are built from packages"
    host.require(host.examine(wanted, source))
    host.mend(progress)
    engine.ensure(progress)
    return wanted, source


def provide(wanted: versions.Versions, source: sources.Source, registry_port: int, progress: Progress) -> Registry:
    """The local registry, and images and tools. Afterwards everything is the same for pulled and for built images."""
    local = provide_images(wanted, source, registry_port, progress, host.missing_tools(wanted))
    host.provide_tools(wanted, Programs(wanted, progress))
    return local


def provide_images(
    wanted: versions.Versions, source: sources.Source, registry_port: int, progress: Progress, tools: Sequence[str] = ()
) -> Registry:
    """The local registry, with what is missing of the images, and these tools, where they are built."""
    local = Registry(registry_port)
    if source is sources.Source.PULL:
        local.ensure(wanted.image(versions.REGISTRY).name, progress)
    else:
        images = Images(wanted, local, progress)
        local.ensure(images.ensure_registry_image(), progress)
        images.ensure_all(tools)
    return local


def tools(progress: Progress) -> None:
    """Only the host's tools: kind, kubectl and helm in build/bin, unless the host has them."""
    wanted = versions.load()
    programs = Programs(wanted, progress)
    for name in host.missing_tools(wanted):
        programs.ensure(wanted.programs[wanted.tools[name].program])
    host.provide_tools(wanted, programs)


def up(
    cluster_name: str,
    ports: dict[str, int],
    registry_port: int,
    progress: Progress,
    kubeconfig: Path | None = None,
    without: Collection[str] = (),
) -> Stack:
    """Bring everything up but the components `without`, or bring what is there to what it should be."""
    wanted, source = survey(progress)
    wanted = wanted.without(without)
    node = wanted.image("kindest/node")
    cluster = Cluster(cluster_name, ports, _name(node, source), kubeconfig)
    cluster.check()  # before builds that take minutes
    local = provide(wanted, source, registry_port, progress)
    platform = Platform(cluster, wanted, progress, source, without)
    service = LocalRelease(cluster, platform, progress)
    with ThreadPoolExecutor() as pool:
        built = pool.submit(_build, local, progress)
        cluster.ensure(progress)
        platform.apply()
        image = built.result()
        service.prepare()
        cluster.wait_ready(progress)
        deployed = pool.submit(service.deploy, image)
        platform.wait()  # first: the service fails, too, where what it needs does
        deployed.result()
    if cluster.mend(progress):  # a port is known to lead nowhere only when something serves it
        platform.wait()
    service.wait_served()
    return Stack(cluster, local, platform, service, image)


def present(
    cluster_name: str, ports: dict[str, int], registry_port: int, image: Built, kubeconfig: Path | None = None
) -> Stack:
    """What `up` has brought up in another process, as it is: nothing is looked at, and nothing changed."""
    wanted = versions.load()
    source = sources.decide(wanted.registries)
    node = wanted.image("kindest/node")
    progress = Progress()
    cluster = Cluster(cluster_name, ports, _name(node, source), kubeconfig)
    platform = Platform(cluster, wanted, progress, source)
    return Stack(cluster, Registry(registry_port), platform, LocalRelease(cluster, platform, progress), image)


def _name(image: versions.Image, source: sources.Source) -> str:
    return image.name if source is sources.Source.PULL else image.tagged


def _build(local: Registry, progress: Progress) -> Built:
    with progress.step("build the service's image", 30) as step:
        image = build_image(local, ROOT)
        step.detail = image.digest[:19]
    return image


def troubles(cluster_name: str) -> list[host.Finding]:
    """What is wrong with the containers that `up` made, if there are any."""
    if not engine.answers():
        return []
    cluster = Cluster(cluster_name, {}, "")
    own = [registry.find()]
    try:
        own += cluster.containers() if cluster.finished else []
    except Failure as failure:
        return [host.Finding(False, str(failure))]
    return [host.Finding(False, trouble, "make up") for c in own if c and (trouble := c.trouble())]


def down(cluster_name: str, progress: Progress) -> None:
    """Remove the cluster, the registry's container, and the engine if we started it. What was built stays cached."""
    if not engine.answers():
        engine.use_unpacked()
    if not engine.answers():
        progress.say("No Docker engine runs, so nothing of this project does.")
        return
    cluster = Cluster(cluster_name, {}, "")
    gone = cluster.delete(progress)
    (BUILD / "up.json").unlink(missing_ok=True)
    others = output(["docker", "ps", "--all", "--quiet", "--filter", "label=io.x-k8s.kind.cluster"]).strip()
    if not others:
        registry.remove()
        engine.stop()
    progress.say(f"{'Removed' if gone else 'There was no cluster'} {cluster_name}. What was built stays in {cache()}.")


def write_facts(stack: Stack) -> None:
    """build/up.json, for scripts."""
    (BUILD / "up.json").write_text(json.dumps(stack.service.facts(), indent=2) + "\n")
