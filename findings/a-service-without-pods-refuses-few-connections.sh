#!/usr/bin/env bash
# Of connections to a Service without pods few are refused at once: most hang.
#
# Versions:  Linux 6.18 with iptables 1.8.9 (nf_tables); the rule is that of Kubernetes 1.36's kube-proxy, mode iptables.
# Input:     twenty connections, one after the other, to an address for which kube-proxy has written the rule that it has for
#            a Service without endpoints: REJECT, with icmp-port-unreachable, which is the target's own default.
# Expected:  each is refused at once: that is what the rule is for.
# Seen:      the first six are; then one a second. The others hang until their SYN is sent again, and so run into
#            time-outs that are shorter than a second.
#            The kernel sends no more than one such ICMP message a second to an address, after a burst of six
#            (net.ipv4.icmp_ratelimit, icmp_ratemask). Not so on the loopback: a test without a network between sees none of it.
# Here:      kit/keel/data/valkey.py lets no request wait to find out whether Valkey is back, and
#            kit/keel/data/cache.py tells it of changes in the background meanwhile.
#
# Needs Linux, root, iptables, iproute2 and Python 3. All is done in network namespaces of its own, which end with it.
set -euo pipefail

if [ "${1:-}" != inside ]; then
    exec unshare --net --mount --fork --kill-child "$0" inside
fi

# The pod is in another namespace: a process that lives as long as this script.
unshare --net sleep 60 &
pod=$!
trap 'kill "$pod"' EXIT
until [ "$(readlink "/proc/$pod/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
in_pod() { nsenter --target "$pod" --net "$@"; }

ip link add node type veth peer name eth0 netns "$pod"
ip address add 10.0.0.1/24 dev node
ip link set node up
in_pod ip address add 10.0.0.2/24 dev eth0
in_pod ip link set eth0 up
in_pod ip route add default via 10.0.0.1
echo 1 > /proc/sys/net/ipv4/ip_forward
iptables -A FORWARD -d 10.96.0.10/32 -p tcp -m tcp --dport 6379 -j REJECT
ip link add out type veth peer name far  # where it would go does not matter
ip link set out up && ip link set far up
ip route add 10.96.0.0/16 dev out

in_pod python3 - <<'END'
import socket

refused = 0
for _ in range(20):
    with socket.socket() as client:
        client.settimeout(0.05)
        try:
            client.connect(("10.96.0.10", 6379))
        except ConnectionRefusedError:
            refused += 1
        except TimeoutError:
            pass
print(f"{refused} of 20 were refused within 50 ms")
raise SystemExit(0 if 1 <= refused <= 10 else "This has changed: most are refused now, or none is.")
END
