"""The cluster, by kubectl and Helm: a pipeline needs nothing but what these two need."""

import json
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from toolkit.process import CommandFailed, Failure, output

Object = dict[str, Any]
# Else kubectl would ask for every resource definition of the cluster, to check what the server checks anyway.
AS_IT_IS = ("--filename=-", "--validate=ignore")
AWAY_SECONDS = 30.0
# What kubectl says of a server that cannot be reached or is too busy, and not of one that refuses.
AWAY = (
    "connection refused",
    "connection reset",
    "timeout",
    "timed out",
    "EOF",
    "ServiceUnavailable",
    "TooManyRequests",
)
PATIENCE = "--request-timeout=20s"


@dataclass(frozen=True)
class Access:
    """One namespace of one cluster. `context` is of the kubeconfig; None for the current one."""

    context: str | None
    namespace: str

    @cached_property
    def kubectl(self) -> list[str]:
        context = ["--context", self.context] if self.context else []
        return ["kubectl", *context, "--namespace", self.namespace, PATIENCE]

    @cached_property
    def helm(self) -> list[str]:
        context = ["--kube-context", self.context] if self.context else []
        return ["helm", *context, "--namespace", self.namespace]

    def get(self, *what: str) -> list[Object]:
        """The objects of a `kubectl get`, which has time to get over a server that is away for a moment: a deploy is
        not given up for that. Raises CommandFailed."""
        deadline = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                found = json.loads(output([*self.kubectl, "get", *what, "--output=json"]))
                break
            except CommandFailed as error:
                if not any(sign in error.said for sign in AWAY) or time.monotonic() > deadline:
                    raise
                time.sleep(1)
        items: list[Object] = found["items"] if found["kind"] == "List" else [found]
        return items

    def exists(self, *what: str) -> bool:
        """Whether one named object is there. Raises CommandFailed if that cannot be said."""
        return bool(output([*self.kubectl, "get", *what, "--ignore-not-found", "--output=name"]).strip())

    def raw(self, path: str) -> str:
        """The API server's answer to a GET. Raises CommandFailed."""
        return output([*self.kubectl, "get", "--raw", path])

    def server(self) -> str:
        """The API server's version. Raises Failure where it does not answer."""
        try:
            found: str = json.loads(self.raw("/version"))["gitVersion"]
        except CommandFailed as error:
            context = f"context {self.context}" if self.context else "the current context"
            raise Failure(
                f"The cluster does not answer ({context}; KUBE_CONTEXT=... names another, KUBECONFIG its file): "
                f"{error.said.strip().splitlines()[-1] if error.said.strip() else error}"
            ) from None
        return found

    def refused(self, wanted: list[tuple[str, str, str, str]]) -> list[str]:
        """What of (verb, API group, resource, namespace) this account may not do, as people say it."""
        text = "\n---\n".join(json.dumps(_review(*each)) for each in wanted)
        said = output([*self.kubectl, "create", *AS_IT_IS, "--output=json"], stdin=text)
        return [
            f"{verb} {resource} in {namespace}"
            for answer, (verb, _, resource, namespace) in zip(_documents(said), wanted, strict=True)
            if not answer["status"]["allowed"]
        ]


def _review(verb: str, group: str, resource: str, namespace: str) -> Object:
    name, _, subresource = resource.partition("/")
    asked = {"verb": verb, "group": group, "resource": name, "subresource": subresource, "namespace": namespace}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }


def _documents(text: str) -> list[Object]:
    """JSON documents one after the other."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        document, at = decoder.raw_decode(text, at)
        found.append(document)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found
