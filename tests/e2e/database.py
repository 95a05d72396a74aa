"""Databases of their own on the platform's PostgreSQL, for releases beside the first."""

import secrets

from k8s import up
from toolkit.process import output


def sql(stack: up.Stack, statement: str, database: str = "links") -> str:
    """What a statement prints: a row a line, its columns separated by |. Raises CommandFailed with what psql said."""
    psql = ["exec", "--stdin", "statefulset/postgresql", "--", "psql", "--username=links", f"--dbname={database}"]
    quiet = ["--set=ON_ERROR_STOP=1", "--quiet", "--no-align", "--tuples-only"]
    return output([*stack.cluster.kubectl, "--namespace=data", *psql, *quiet], stdin=statement)


def make(stack: up.Stack, name: str) -> str:
    """A new, empty database with an owner of the same name; returns its URL inside the cluster."""
    drop(stack, name)
    password = secrets.token_urlsafe(24)
    sql(stack, f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    sql(stack, f"CREATE DATABASE {name} OWNER {name}")
    return f"postgresql://{name}:{password}@postgresql.data.svc:5432/{name}"


def drop(stack: up.Stack, name: str) -> None:
    """Remove both, whoever is connected."""
    sql(stack, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    sql(stack, f"DROP ROLE IF EXISTS {name}")
