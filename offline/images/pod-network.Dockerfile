# Pod networking for the node image built here; see node/default-cni.yaml.
FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends iproute2 iptables && rm -rf /var/lib/apt/lists/*
COPY --chmod=0755 bin/kubectl /usr/local/bin/
COPY --chmod=0755 pod-network/pod-network /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/pod-network"]
