import socket

from keel.data import keepalive


def test_a_dead_peer_is_found_out_within_twenty_seconds() -> None:
    with socket.socket() as one:
        keepalive.enable(one)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, interval, probes = (
            one.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
    assert idle + interval * probes < 20
