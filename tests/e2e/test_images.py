"""An image behaves as its upstream name promises, pulled or built here; and ours keeps its own promises."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from k8s import up
from offline.engine import buildx
from toolkit import versions
from toolkit.process import CommandFailed, output, run
from toolkit.versions import Image

MAX_MB = 110
PARTS = {
    "dependencies": "usr/local",
    "standard library": "usr/lib/python3.13",
    "C libraries": "usr/lib/x86_64-linux-gnu",
    "interpreter": "usr/bin",
    "app": "srv",
}
DECLARED = [i for i in versions.load().images if i.config]


@pytest.mark.parametrize("image", DECLARED, ids=[i.repository for i in DECLARED])
def test_image_is_configured_as_upstream(stack: up.Stack, image: Image) -> None:
    found = configuration(stack, image)
    for key, wanted in image.config.items():
        name = {"workdir": "WorkingDir"}.get(key, key.capitalize())
        if key == "env":
            have = dict(v.split("=", 1) for v in found["Env"])
            assert {k: have.get(k) for k in wanted} == wanted
        else:
            assert found.get(name) == (list(wanted) if isinstance(wanted, list) else wanted), key


def configuration(stack: up.Stack, image: Image) -> dict[str, Any]:
    """The image's configuration, from the engine or from the registry that the nodes ask."""
    if image.engine or stack.registry.digest(image.repository, image.tag) is None:
        return dict(json.loads(output(["docker", "image", "inspect", image.tagged, "--format", "{{json .Config}}"])))
    found: Any = stack.registry.config(image.repository, image.tag)["config"]
    return dict(found)


@pytest.fixture(scope="module")
def rootfs(stack: up.Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the service's image, from the registry that the nodes pull it from."""
    folder = tmp_path_factory.mktemp("rootfs")
    (folder / "Dockerfile").write_text(f"FROM {stack.registry.host}/links@{stack.image.digest}\n")
    run([*buildx(), "build", "--output", f"type=local,dest={folder / 'root'}", folder], log="e2e-rootfs")
    return folder / "root"


def test_image_is_small(rootfs: Path, report: Callable[..., None]) -> None:
    parts = {name: megabytes(rootfs / folder) for name, folder in PARTS.items()}
    size = megabytes(rootfs)
    inside = ", ".join(f"{name} {part:.1f}" for name, part in parts.items())
    report("size of the image", note=f"{size:.1f} MB: {inside}, rest {size - sum(parts.values()):.1f}")
    assert size < MAX_MB


def megabytes(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink()) / 1e6


def test_image_has_no_shell_and_no_package_manager(rootfs: Path) -> None:
    programs = {p.name for p in rootfs.rglob("*") if p.parent.name in {"bin", "sbin"} and not p.is_dir()}
    assert programs == {"python3", "python3.13"}
    modules = {p.name for p in rootfs.rglob("*") if p.is_dir()}
    assert not modules & {"pip", "ensurepip", "setuptools", "apt"}


def test_every_library_of_the_image_finds_what_it_links(stack: up.Stack) -> None:
    """What is not imported at the start would be missed only when it is needed."""
    program = (
        "import ctypes, pathlib\n"
        "found = [p for f in ('/usr/lib/python3.13', '/usr/local/lib') for p in pathlib.Path(f).rglob('*.so')]\n"
        "assert {'_ssl', '_greenlet', '_rust'} <= {p.name.split('.')[0] for p in found}, found\n"
        "for p in found: ctypes.CDLL(str(p))\n"
    )
    run(in_image(stack, "-c", program, entrypoint="/usr/bin/python3.13"), log="e2e-libraries")


def test_image_trusts_the_public_authorities(stack: up.Stack) -> None:
    """Without them no keys could be fetched from APP_JWKS_URL, which is HTTPS where the service is deployed."""
    program = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'])"
    assert int(output(in_image(stack, "-c", program, entrypoint="/usr/bin/python3.13"))) > 100


def test_image_runs_read_only_as_any_user(stack: up.Stack) -> None:
    said = output(in_image(stack, "config", user="12345:12345"))
    assert json.loads(said)["APP_ENVIRONMENT"] == "local"


def test_image_is_not_run_as_root(stack: up.Stack) -> None:
    found: Any = stack.registry.config("links", stack.image.digest)["config"]
    assert found["User"] == "65532:65532"
    said = output(in_image(stack, "-c", "import os; print(os.getuid())", entrypoint="/usr/bin/python3.13", user=""))
    assert said.strip() == "65532"


def test_wrong_setting_ends_with_a_sentence(stack: up.Stack) -> None:
    with pytest.raises(CommandFailed, match="APP_PORT"):
        output(in_image(stack, "serve", env={"APP_PORT": "many"}))


def in_image(
    stack: up.Stack,
    *arguments: str,
    entrypoint: str = "",
    user: str = "",
    env: dict[str, str] | None = None,
) -> list[str]:
    """The command that runs the service's image, without network and read-only."""
    image = f"{stack.registry.host}/links@{stack.image.digest}"
    options = ["--rm", "--read-only", "--network=none", "--cap-drop=ALL"]
    options += [f"--entrypoint={entrypoint}"] if entrypoint else []
    options += [f"--user={user}"] if user else []
    options += [f"--env={k}={v}" for k, v in (env or {}).items()]
    return ["docker", "run", *options, image, *arguments]
