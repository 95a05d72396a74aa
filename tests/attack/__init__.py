"""The attempts of a stranger against a running service, in groups; `make attack` and `make test` run them.

Each attempt is one request or one connection that is judged. What is sent are the harmless inputs of public checklists
(RFC 8725, OWASP API Top 10), in small amounts, and to this machine alone.
"""
