# docker.io/balabit/syslog-ng, from Debian's package.
FROM debian:trixie-slim
RUN --mount=type=bind,source=packages,target=/packages apt-get update \
 && apt-get install -y --no-install-recommends syslog-ng-core syslog-ng-mod-http \
 && rm -rf /var/lib/apt/lists/* && sh /packages/hold
ENTRYPOINT ["/usr/sbin/syslog-ng", "-F"]
