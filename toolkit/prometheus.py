"""Asks Prometheus (https://prometheus.io/docs/prometheus/latest/querying/api/), and servers like it."""

import json
from typing import Any, Self

import httpx

from toolkit.process import Failure

QUERY = "/api/v1/query"


def result(text: str) -> list[dict[str, Any]]:
    """The series of an answer to a query. Raises Failure where it is none of Prometheus's."""
    try:
        found: list[dict[str, Any]] = json.loads(text)["data"]["result"]
    except (ValueError, KeyError, TypeError):
        raise Failure(f"what answers is no Prometheus: {text[:80]!r}") from None
    return found


class Server:
    """Asks over HTTP while it is entered. Raises Failure when there is no answer, or not the right one."""

    name = ""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            self.client = httpx.Client(base_url=self.url, timeout=30)
        except httpx.InvalidURL as error:
            raise Failure(f"{url!r} is no address ({error}): give {self.name}'s as in http://127.0.0.1:9090.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def get(self, path: str, **parameters: str) -> Any:
        """What it answers, made of its text by `parse`."""
        try:
            response = self.client.get(path, params=parameters)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Failure(
                f"{self.name} at {self.url} does not answer ({error}): is it up, and the address right?"
            ) from None
        try:
            return self.parse(response.raise_for_status().text)
        except (httpx.HTTPStatusError, ValueError, KeyError, TypeError):
            said = f"{response.status_code}: {response.text[:300]}"
            raise Failure(
                f"What answers at {self.url} is no {self.name}, or does not like the question ({said})."
            ) from None

    def parse(self, text: str) -> Any:
        raise NotImplementedError


class Prometheus(Server):
    name = "Prometheus"

    def parse(self, text: str) -> Any:
        return json.loads(text)["data"]

    def query(self, expression: str, **asked: str) -> list[dict[str, Any]]:
        """The series that an expression has at this moment, or at the `time` that is asked for."""
        found: list[dict[str, Any]] = self.get(QUERY, query=expression, **asked)["result"]
        return found
