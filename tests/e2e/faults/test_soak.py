"""Minutes of mixed load, or hours (SOAK_SECONDS): nothing grows that is not to grow.

What all pods have when they have warmed up is compared with what they have in the end: memory, open files, time series,
and the database's connections.
"""

import math
from dataclasses import dataclass
from statistics import mean

import pytest
from kubernetes import client
from prometheus_client.parser import text_string_to_metric_families

from k8s import up
from tests.e2e import database
from tests.e2e.faults import harm
from tests.e2e.faults.conftest import SOAK_SECONDS, Fault
from tests.e2e.pods import management, pod_names

RUNS = 1
ONE_SECONDS = 600  # one load
LOADS = math.ceil(SOAK_SECONDS / ONE_SECONDS)
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(LOADS * 2 * ONE_SECONDS + 600)]
LOOKS = 40  # at what there is, in each
MEMORY = "process_resident_memory_bytes"
FILES = "process_open_fds"
MIB = 1 << 20


@dataclass(frozen=True)
class Look:
    """What all pods have together."""

    memory: float  # MiB
    files: float
    series: int
    connections: int


# What noise makes of each from one quarter of the time to another.
NOISE = Look(memory=6, files=20, series=12, connections=6)


def look(stack: up.Stack, core: client.CoreV1Api, pods: list[str]) -> Look:
    samples = [
        sample
        for pod in pods
        for family in text_string_to_metric_families(management(core, pod, "metrics"))
        for sample in family.samples
    ]
    total = {name: sum(each.value for each in samples if each.name == name) for name in (MEMORY, FILES)}
    connections = database.sql(stack, f"SELECT count(*) FROM {harm.SESSIONS}")  # noqa: S608
    return Look(total[MEMORY] / MIB, total[FILES], len(samples), int(connections))


def test_nothing_grows(stack: up.Stack, core: client.CoreV1Api, fault: Fault) -> None:
    looks: list[Look] = []
    pods = pod_names(core)
    for _ in range(LOADS):
        with fault(f"{ONE_SECONDS // 60} minutes of mixed load", stays=True) as watch:
            for _ in range(LOOKS):
                watch.load.go_on(ONE_SECONDS / LOOKS)
                looks.append(look(stack, core, pods))
    assert set(pods) <= set(pod_names(core))
    quarter = len(looks) // 4
    for name in Look.__dataclass_fields__:
        values = [getattr(each, name) for each in looks]
        before, after = mean(values[quarter : 2 * quarter]), mean(values[-quarter:])
        assert after - before <= getattr(NOISE, name), f"{name} grows: {values}"
