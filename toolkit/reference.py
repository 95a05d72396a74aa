"""The grammar of image names (https://github.com/distribution/reference), and an image by digest: what was tested is
what runs."""

import re
from dataclasses import dataclass

from toolkit.process import Failure

NAME = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
REPOSITORY = rf"(?:(?:[a-zA-Z0-9.-]+(?::[0-9]{{1,5}})?)/)?{NAME}(?:/{NAME})*"
TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
WHOLE = re.compile(rf"(?P<repository>{REPOSITORY})(?::{TAG})?@(?P<digest>sha256:[0-9a-f]{{64}})")


@dataclass(frozen=True)
class Image:
    """`repository@digest`."""

    repository: str
    digest: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"

    @property
    def short(self) -> str:
        """As people tell one from another."""
        return f"{self.repository.rpartition('/')[2]}@{self.digest[:19]}"


def parse(text: str) -> Image:
    """`repository@sha256:…`, or with a tag before the @, which says nothing then. Raises Failure for all else."""
    if not text:
        raise Failure(
            "IMAGE is not set: give an image by digest, IMAGE=registry/name@sha256:... (`make image` prints it)."
        )
    found = WHOLE.fullmatch(text)
    if found:
        return Image(found["repository"], found["digest"])
    if "@" not in text and re.fullmatch(rf"{REPOSITORY}(?::{TAG})?", text):
        bare = text.rpartition(":")[0] if ":" in text.rpartition("/")[2] else text
        raise Failure(
            f"IMAGE is '{text}', a tag, and a tag can be moved: give the digest, IMAGE={bare}@sha256:... "
            f"(`make image` prints it; `docker buildx imagetools inspect {text}` says it of a pushed image)."
        )
    raise Failure(
        f"IMAGE is '{text}', which is no image by digest: it is written registry/name@sha256: and 64 hex digits."
    )
