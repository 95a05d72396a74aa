"""Write an image into what Argo CD and Flux read; committed, they deploy it. Comments and everything else stay."""

import argparse
import os
import re
from pathlib import Path

from toolkit import reference
from toolkit.paths import ROOT, shown
from toolkit.process import Failure

ENVIRONMENTS = ROOT / "k8s" / "environments"
# Each file, with what stands before the repository and before the digest.
FILES = {
    "argocd/application.yaml": (r"- name: image\.repository\n +value: ", r"- name: image\.digest\n +value: "),
    "flux/helmrelease.yaml": (r"image:\n +repository: ", r"image:\n +repository: \S+\n +digest: "),
}


def pin(image: str, folder: Path = ENVIRONMENTS) -> list[Path]:
    """Write the image into each file that is there (a team may keep one road of the two); returns those that have
    changed. Raises Failure, with nothing written."""
    wanted = reference.parse(image)
    files = {folder / name: places for name, places in FILES.items() if (folder / name).exists()}
    if not files:
        raise Failure(f"There is neither {' nor '.join(FILES)} in {shown(folder)}: nothing reads the image there.")
    written: dict[Path, str] = {}
    for file, (before_repository, before_digest) in files.items():
        text = file.read_text(encoding="utf-8")
        new = text
        for before, value in ((before_repository, wanted.repository), (before_digest, wanted.digest)):
            new, count = re.subn(rf"({before})\S+", rf"\g<1>{value}", new)
            if count != 1:
                raise Failure(f"{shown(file)} does not name its image as it did: write {wanted} there by hand.")
        if new != text:
            written[file] = new
    for file, text in written.items():
        file.write_text(text, encoding="utf-8")
    return list(written)


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("pin", help="write an image into what Argo CD and Flux read, to be committed")
    image = os.environ.get("IMAGE", "")  # make hands its variables on this way, past any shell
    command.add_argument("image", nargs="?", default=image, help="repository@sha256:... (default: $IMAGE)")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    written = pin(args.image)
    for file in written:
        print(f"{shown(file)}: commit it, and it is deployed.")
    if not written:
        print(f"{args.image} is what they name already: there is nothing to commit.")
    return 0
