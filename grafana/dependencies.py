"""What the service needs: its database, its cache, whoever signs its tokens; and the limits it sets to clients."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from grafana import promql as q
from grafana.frame import DEPENDENCIES, Section, frame
from grafana.panels import BLUE, GREEN, NOT_MEASURED, ORANGE, PURPLE, RED, Query, Text, graph, stat

POOL_USED = (
    f'sum by (pod) (database_pool_connections{{{q.SERVICE}, state="in_use"}})'
    f" / (sum by (pod) (database_pool_limit{{{q.SERVICE}}}) > 0)"
)
# Only of pods that have a Valkey: the others count alone by intention.
ALONE = f"sum(rate_limit_fallback{{{q.SERVICE}}} and on (namespace, instance) valkey_breaker_open{{{q.SERVICE}}})"


def build() -> Dashboard:
    return frame(
        DEPENDENCIES,
        "Dependencies",
        "Whether the database, the cache and the issuer of tokens do their part.",
        [HEALTH, DATABASE, CACHE, VALKEY, CLIENTS],
    )


def cache(layer: str, result: str = ".+") -> str:
    labels = f'{q.SERVICE}, layer="{layer}", result=~"{result}"'
    return f"sum({q.rate('cache_requests_total', labels)})"


HEALTH = Section("", [
    stat(
        Text("Dependencies away", "Dependencies whose last check failed, each counted once for every pod.",
             "Any. Without the database what is not cached gets 503; without Valkey all goes on.",
             "The first panel below tells which."),
        f"count(dependency_up{{{q.SERVICE}}} == 0) or {q.ZERO}", "none", [(1, RED)], decimals=0,
    ),
    stat(
        Text("Slowest statements", "99 of 100 statements take at most this long; 0 when there are none.",
             "A tenth of a second and more.", "See which kind of statement, then ask the database what it waits for."),
        q.quantile(0.99, "database_statement_duration_seconds"), "s", [(0.1, ORANGE), (0.5, RED)],
    ),
    stat(
        Text("Fullest pool", "Share of its connections that the busiest pod is using.",
             "All: requests wait for a connection, and are refused when that takes too long.",
             "Look for slow statements first; a larger pool helps only a database with room for it."),
        f"max({POOL_USED})", "percentunit", [(0.8, ORANGE), (1, RED)], decimals=0, absent=NOT_MEASURED,
    ),
    stat(
        Text("Cache misses", "Share of questions to the cache that had to be asked of the database.",
             "A sudden rise: the database gets the load that the cache took.",
             "See whether Valkey answers, and whether a rollout has just emptied the pods' memory."),
        q.share(cache("database"), cache("local")), "percentunit", [(0.5, ORANGE), (0.9, RED)], decimals=1,
    ),
    stat(
        Text("Pods without Valkey", "Pods that leave Valkey alone because it did not answer.",
             "Any: counts are no longer shared, and the database is asked more.",
             "Look at the Valkey server. The service goes on without it."),
        f"sum(valkey_breaker_open{{{q.SERVICE}}}) or {q.ZERO}", "none", [(1, ORANGE)], decimals=0,
    ),
    stat(
        Text("Tokens not verified", "Requests per second refused because the issuer's keys could not be had.",
             "Any: nobody can log in.", "See whether the issuer's JWKS address answers from inside the cluster."),
        q.per_second("auth_tokens_total", f'{q.SERVICE}, outcome="keys_unavailable"'), "reqps", [(0.001, RED)],
    ),
])  # fmt: skip

DATABASE = Section("Database", [
    graph(
        Text("Pods that reach it", "Pods whose last check of a dependency passed.", "Fewer than there are pods.",
             "One pod: its node or its network. All: the dependency itself."),
        [Query(q.or_none(f"sum by (dependency) (dependency_up{{{q.SERVICE}}})", "dependency"), "{{dependency}}")],
        "none", width=6,
    ),
    graph(
        Text("Statements", "Statements per second by kind.", "Far more of them for the same number of requests.",
             "A new version may ask in a loop, or the cache may be empty."),
        [Query(q.per_second_by("kind", "database_statement_duration_seconds_count"), "{{kind}}")],
        "ops", width=6, stacked=True,
    ),
    graph(
        Text("Slowest statements by kind", "99 of 100 statements of a kind take at most this long.",
             "One kind: a missing index or a lock. All: the database is busy, or the network slow.",
             "Ask the database for what runs and what waits."),
        [Query(q.quantile_by("kind", 0.99, "database_statement_duration_seconds"), "{{kind}}")],
        "s", [(0.1, ORANGE), (0.5, RED)], width=6,
    ),
    graph(
        Text("Connections", "Connections of all pods' pools by state, and how many there can be.",
             "In use at the limit.", "Look for slow statements, and for transactions that stay open."),
        [
            Query(f"sum by (state) (database_pool_connections{{{q.SERVICE}}})", "{{state}}"),
            Query(f"sum(database_pool_limit{{{q.SERVICE}}})", "limit"),
        ],
        "none", width=6, absent=NOT_MEASURED, colors={"^in_use$": BLUE, "^idle$": GREEN, "^limit$": RED},
    ),
    graph(
        Text("Wait for a connection", "How long requests wait until they have a connection: half and 99 of 100.",
             "More than a few milliseconds: the pool is too small for how long statements take.",
             "Make statements faster, or the pool larger."),
        [Query(q.quantile(share, "database_connection_wait_seconds"), words)
         for share, words in ((0.5, "half"), (0.99, "99 %"))],
        "s", [(0.1, ORANGE), (1, RED)], width=6, colors={"^half$": GREEN, "^99 %$": PURPLE},
    ),
    graph(
        Text("Pool in use by pod", "Share of its connections that each pod is using.", "One pod alone at 100 %.",
             "A pod that stays there holds connections that it does not give back: restart it, then find the leak."),
        [Query(POOL_USED, "{{pod}}")], "percentunit", [(0.8, ORANGE), (1, RED)], width=6, absent=NOT_MEASURED,
    ),
    graph(
        Text("Refusals", "Times per second that the database could not be used, by reason.",
             "Unreachable: it is down or cut off. pool_timeout: no free connection. "
             "exhausted: the server has none left. statement_timeout: too slow.",
             "Go to the database when it is unreachable or exhausted; otherwise to the slowest statements."),
        [Query(q.per_second_by("reason", "database_unavailable_total"), "{{reason}}")], "ops", width=12,
    ),
])  # fmt: skip

CACHE = Section("Cache", [
    graph(
        Text("Questions", "Questions to the cache per second, by the layer that had the answer or not.",
             "More and more of them that reach the database.", "See whether Valkey answers."),
        [Query(q.per_second_by("layer", "cache_requests_total", also="result"), "{{layer}} {{result}}")],
        "ops", stacked=True,
    ),
    graph(
        Text("Misses", "Share of questions that a layer could not answer.",
             "Both high at the same time, longer than after a rollout.",
             "Memory alone is emptied by a rollout; with Valkey too, look at that."),
        [
            Query(q.share(cache("local", "miss"), cache("local")), "memory"),
            Query(q.share(cache("shared", "miss|stale|changed|corrupt|unavailable"), cache("shared")), "Valkey"),
            Query(q.share(cache("database"), cache("local")), "asked of the database"),
        ],
        "percentunit", most=1, colors={"^memory$": GREEN, "^Valkey$": PURPLE, "^asked": ORANGE},
    ),
    graph(
        Text("Faults", "Failures per second: Valkey silent or corrupt, or not notified of a change.",
             "Any that lasts. Where Valkey was not notified, other pods give the old answer until it expires.",
             "Look at the Valkey server and the network to it."),
        [
            Query(q.per_second("cache_requests_total", f'{q.SERVICE}, result=~"corrupt|unavailable|error"'), "not had"),
            Query(q.per_second("cache_fills_total", f'{q.SERVICE}, result="unavailable"'), "not kept"),
            Query(q.per_second("cache_changes_total", f'{q.SERVICE}, result="failed"'), "change not notified"),
        ],
        "ops", colors={"^not had$": RED, "^not kept$": ORANGE, "^change": PURPLE},
    ),
])  # fmt: skip

VALKEY = Section("Valkey", [
    graph(
        Text("Calls", "Calls per second by what came of them; skipped are those not made because it did not answer.",
             "Anything but ok.", "Look at the Valkey server; the service goes on without it."),
        [Query(q.per_second_by("outcome", "valkey_calls_total"), "{{outcome}}")],
        "ops", stacked=True, colors={"^ok$": GREEN, "^skipped$": ORANGE},
    ),
    graph(
        Text("Slowest calls", "99 of 100 calls of an operation take at most this long.",
             "More than ten milliseconds: the cache is slower than what it saves.",
             "Look at the server's CPU and at the network."),
        [Query(q.quantile_by("operation", 0.99, "valkey_call_duration_seconds"), "{{operation}}")],
        "s", [(0.01, ORANGE), (0.1, RED)],
    ),
    graph(
        Text("Pods on their own", "Pods that leave Valkey alone, and pods that count requests alone for want of it.",
             "Any for longer than a restart of Valkey takes.", "Look at the Valkey server."),
        [
            Query(f"sum(valkey_breaker_open{{{q.SERVICE}}}) or {q.ZERO}", "leave it alone"),
            Query(q.or_zero(ALONE), "count alone"),
        ],
        "none", [(1, ORANGE)],
    ),
])  # fmt: skip

CLIENTS = Section("Tokens and rate limits", [
    graph(
        Text("Tokens", "Tokens looked at per second, by outcome.",
             "Many that are invalid or signed by a stranger: the issuer has changed, or somebody guesses.",
             "Compare the issuer's keys with those that the service has."),
        [Query(q.per_second_by("outcome", "auth_tokens_total"), "{{outcome}}")],
        "ops", width=6, stacked=True, colors={"^(valid|cached)$": GREEN, "^keys_unavailable$": RED},
    ),
    graph(
        Text("Age of the issuer's keys", "Time since the keys were read; 0 when they come from a file.",
             "Much more than the refresh interval: the issuer does not answer.",
             "Tokens are still verified with the old keys; ask the issuer before it changes them."),
        [Query(f"max(jwks_age_seconds{{{q.SERVICE}}}) or {q.ZERO}", "oldest")], "s", width=6,
    ),
    graph(
        Text("Refused by rate limits", "Requests per second that were too many, by what is counted.",
             "A wave that lasts: one client, or a limit that is too low for honest ones.",
             "The access log tells the addresses; block one at the ingress, or raise the limit."),
        [Query(q.per_second_by("kind", "rate_limited_total"), "{{kind}}")], "reqps", width=6,
    ),
    graph(
        Text("Clients counted", "Clients that pods keep a count of, by kind.",
             "Very many addresses at once: a distributed flood.", "That is the ingress's or the network's to stop."),
        [Query(q.or_none(f"sum by (kind) (rate_limit_clients{{{q.SERVICE}}})", "kind"), "{{kind}}")], "none", width=6,
    ),
])  # fmt: skip
