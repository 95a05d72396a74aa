"""All groups. Some start the service themselves, and so cannot be run against one that is there."""

from tests.attack import floods, logs, objects, paths, settings, shapes, slow, targets, tokens
from tests.attack.attempts import Group

ANYWHERE: list[tuple[str, Group]] = [
    ("tokens", tokens.attack),
    ("objects", objects.attack),
    ("targets", targets.attack),
    ("paths", paths.attack),
    ("shapes", shapes.attack),
    ("slow", slow.attack),
    ("floods", floods.attack),
]
OWN: list[tuple[str, Group]] = [("logs", logs.attack), ("settings", settings.attack)]
