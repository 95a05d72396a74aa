"""From the objects of an earlier release to today's: tests/e2e/test_release.py does it on a cluster."""

import yaml

from .helm import DIGEST, IMAGE, ROOT, Objects, helm, render

EARLIER = ROOT / "tests" / "e2e" / "earlier"


def earlier() -> Objects:
    image = f"image.repository={IMAGE['repository']},image.digest={DIGEST}"
    done = helm("template", "demo", EARLIER, "--set-string", image)
    assert done.returncode == 0, done.stderr
    return Objects(yaml.safe_load_all(done.stdout))


def test_what_cannot_be_changed_is_as_it_was() -> None:
    """The API server refuses another selector, and Helm would delete what has another name: with all its pods."""
    before, now = earlier(), render({"image": {"digest": DIGEST}})
    assert before.one("Deployment")["spec"]["selector"] == now.one("Deployment")["spec"]["selector"]
    names = {(each["kind"], each["metadata"]["name"]) for each in now}
    assert {(each["kind"], each["metadata"]["name"]) for each in before} <= names
