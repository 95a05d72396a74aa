# registry.k8s.io/pause: upstream's one C file (upstream/, from the Kubernetes module), compiled as upstream does.
FROM debian:trixie-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY upstream/build/pause/linux/pause.c /src/
RUN gcc -Os -Wall -Werror -static -s -DVERSION=3.10 -o /pause /src/pause.c
FROM scratch
COPY --from=build /pause /pause
USER 65535:65535
ENTRYPOINT ["/pause"]
