#!/bin/sh
# The part of the official image's entrypoint that our manifests use: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB
# (each also as *_FILE), PGDATA, SQL files in /docker-entrypoint-initdb.d, and scram-sha-256 for every connection.
set -eu

read_secret() { # NAME DEFAULT: from $NAME_FILE, else $NAME, else DEFAULT
    file=$(printenv "$1_FILE" || true)
    if [ -n "$file" ]; then cat "$file"; else printenv "$1" || printf '%s' "$2"; fi
}

if [ "${1:-}" != postgres ]; then
    exec "$@"
fi
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown postgres:postgres "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    user=$(read_secret POSTGRES_USER postgres)
    password=$(read_secret POSTGRES_PASSWORD "")
    database=$(read_secret POSTGRES_DB "$user")
    if [ -z "$password" ]; then
        echo "Set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE: the database is not made without a password." >&2
        exit 1
    fi
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA"
    secret=$(mktemp)
    printf '%s\n' "$password" >"$secret"
    initdb --username="$user" --pwfile="$secret" --auth=scram-sha-256 --auth-local=trust --encoding=UTF8
    rm "$secret"
    printf 'host all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
    pg_ctl --wait --options="-c listen_addresses=''" start
    if [ "$database" != postgres ]; then
        createdb --username="$user" "$database"
    fi
    for file in /docker-entrypoint-initdb.d/*.sql; do
        if [ -f "$file" ]; then psql -v ON_ERROR_STOP=1 --username="$user" --dbname="$database" --file="$file"; fi
    done
    pg_ctl --wait --mode=fast stop
fi
exec "$@"
