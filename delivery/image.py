"""`make image`: the service's image, built from this checkout and pushed. The same commit gives the same digest."""

import argparse
import json
import os
import re
import sys

from offline import engine
from offline.image_build import Built, build_and_push
from offline.registry import NAME as LOCAL_REGISTRY
from toolkit import project, reference
from toolkit.paths import BUILD, ROOT
from toolkit.process import Failure, output, succeeds
from toolkit.progress import Progress
from toolkit.switch import switch

NAME = "links"
LOCAL = project.LOCAL
FACTS = BUILD / "image.json"
PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9]+(?:/[a-z0-9]+)?")


def local_registry() -> str:
    """Where this host reaches the local registry: 127.0.0.1:PORT. Raises Failure where none runs."""
    port = ["docker", "port", LOCAL_REGISTRY, "5000/tcp"]
    if not succeeds(port):
        raise Failure("No local registry runs: `make up` starts one. Name another registry with REPOSITORY=...")
    return output(port).split()[0]


def reachable(image: str) -> str:
    """An image by the name under which this host reaches it; the nodes know the local registry by another."""
    if image.startswith(f"{LOCAL}/"):
        return f"{local_registry()}/{image.removeprefix(f'{LOCAL}/')}"
    return image


def build(repository: str, tag: str, platforms: str, progress: Progress, *, fresh: bool = False) -> Built:
    """Build and push; without a repository to the local registry. `fresh` takes nothing from the engine's cache, where
    Debian's packages are those of the first build. Raises Failure.
    """
    if repository and not re.fullmatch(reference.REPOSITORY, repository):
        raise Failure(
            f"REPOSITORY is '{repository}': give a registry and a name without tag, as registry.example.com/links."
        )
    if not re.fullmatch(reference.TAG, tag):
        raise Failure(f"TAG is '{tag}': a tag has letters, digits, dots, hyphens and underscores.")
    if platforms and not all(PLATFORM.fullmatch(each) for each in platforms.split(",")):
        raise Failure(f"PLATFORMS is '{platforms}': separate them by commas, as in linux/amd64,linux/arm64.")
    engine.ensure(progress)
    options = [f"--platform={platforms}"] if platforms else []
    options += ["--no-cache"] if fresh else []
    target = repository or f"{local_registry()}/{NAME}"
    if "rewrite-timestamp" not in engine.push_options():
        progress.say(
            "This engine cannot rewrite time stamps, so the next build will have another digest: switch Docker to its "
            "containerd image store, or `docker buildx create --use`."
        )
    with progress.step(f"build and push {target}:{tag}", 60):
        digest = build_and_push(f"{target}:{tag}", ROOT, name=NAME, options=options)
    return Built(repository or f"{LOCAL}/{NAME}", digest)


def run(args: argparse.Namespace) -> int:
    fresh = args.no_cache or switch("NO_CACHE", os.environ.get("NO_CACHE", ""))
    with Progress() as progress:
        built = build(args.repository, args.tag, args.platforms, progress, fresh=fresh)
    FACTS.write_text(json.dumps({"repository": built.repository, "digest": built.digest}) + "\n")
    sys.stdout.write(f"{built.repository}@{built.digest}\n")
    return 0


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("image", help="build the service's image and push it; prints repository@digest")
    given = os.environ.get  # make hands its variables on this way, past any shell
    parser.add_argument("--repository", default=given("REPOSITORY", ""), help="with registry (default: the local one)")
    parser.add_argument("--tag", default=given("TAG") or "latest", help="(default: latest)")
    parser.add_argument("--platforms", default=given("PLATFORMS", ""), help="comma separated (default: this machine's)")
    help_text = "take nothing from the engine's cache: Debian's packages of today (default: $NO_CACHE)"
    parser.add_argument("--no-cache", action="store_true", help=help_text)
    parser.set_defaults(run=run)
