# docker.io/valkey/valkey, from Debian's package.
FROM debian:trixie-slim
RUN --mount=type=bind,source=packages,target=/packages \
    groupadd --gid 999 valkey && useradd --uid 999 --gid 999 --no-create-home --shell /usr/sbin/nologin valkey \
 && apt-get update && apt-get install -y --no-install-recommends valkey-server valkey-tools \
 && rm -rf /var/lib/apt/lists/* && sh /packages/hold \
 && mkdir -p /data && chown valkey:valkey /data
WORKDIR /data
VOLUME ["/data"]
USER 999:999
EXPOSE 6379
CMD ["valkey-server"]
