"""A canary: the new version beside the present one, with a share of the requests that grows step by step.

What serves stays as it is: each step is the present release's values, with the chart's `canary` on top of them. Only
the image and `config` are the new version's; all else that a deploy changes comes when the canary has proven itself.
"""

import math
from dataclasses import dataclass

from delivery.deploy import values
from delivery.deploy.environment import Canary
from delivery.deploy.values import Values
from toolkit.process import Failure
from toolkit.reference import Image


@dataclass(frozen=True)
class Step:
    weight: int
    """Requests in percent."""
    replicas: int
    """Pods to have meanwhile: those for the next step too, so that they are ready before it begins."""


@dataclass(frozen=True)
class Plan:
    """What a deploy's canary is, and how far it goes."""

    present: Values
    """Those of the release that serves, without its chart's."""
    image: Image
    config: Values
    steps: list[Step]

    def values(self, step: Step) -> Values:
        """Of the chart's `canary` at a step."""
        image = {"repository": self.image.repository, "tag": "", "digest": self.image.digest}
        canary = {"image": image, "config": self.config, "weight": step.weight, "replicas": step.replicas}
        return {"canary": {"enabled": True, **canary}}


def steps(wanted: Canary, pods: int) -> list[Step]:
    """From no request at all to the last share. `pods` is how many the present version has."""
    enough = [wanted.replicas or max(1, math.ceil(pods * weight / 100)) for weight in wanted.steps]
    return [Step(weight, number) for weight, number in zip([0, *wanted.steps], [*enough, enough[-1]], strict=True)]


def plan(wanted: Canary, present: Values, merged: Values, image: Image, pods: int) -> Plan | None:
    """None where the canary would be what serves already. Raises Failure where what serves can have none.

    `present` are the values of the release that serves, `merged` all those of the new one.
    """
    own = {key: value for key, value in present.items() if key != "canary"}
    serves = values.load([], own)
    now = serves["image"]
    if (now["repository"], now["digest"], serves["config"]) == (image.repository, image.digest, merged["config"]):
        return None
    if not serves["httpRoute"]["enabled"]:
        raise Failure(
            "The release that serves has no HTTPRoute, and a canary needs one to share the requests: deploy once "
            "without `canary` in the environment, so that it has one."
        )
    return Plan(own, image, merged["config"], steps(wanted, pods))
