# docker.io/edoburu/pgbouncer, from Debian's package.
FROM debian:trixie-slim
RUN --mount=type=bind,source=packages,target=/packages \
    apt-get update && apt-get install -y --no-install-recommends pgbouncer \
 && rm -rf /var/lib/apt/lists/* && sh /packages/hold
USER 70:70
