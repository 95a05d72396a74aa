# registry.k8s.io/kube-proxy: the program and the tools of the kernel's packet filter that it calls.
FROM debian:trixie-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends conntrack ipset iptables kmod nftables \
 && rm -rf /var/lib/apt/lists/*
COPY --chmod=0755 bin/kube-proxy /usr/local/bin/
