"""Two testnets on one machine never get the same ports."""

import socket

import pytest
from p2pledger.testnet.ports import HOST, NODES_MAX, NoPorts, PortBlock, claimed_ports


def test_a_node_has_three_ports_of_its_own() -> None:
    block = PortBlock(7_100)
    ports = [port for index in range(NODES_MAX) for port in block.of(index)]
    assert len(set(ports)) == 3 * NODES_MAX
    assert min(ports) == 7_100 and max(ports) < 7_199


def test_blocks_claimed_at_once_differ_and_are_free_again_afterwards() -> None:
    with claimed_ports(3) as first:
        with claimed_ports(3) as second:
            assert first.base != second.base
        with pytest.raises(NoPorts, match="ss -ltnp"), claimed_ports(3, first.base):
            pass
    with claimed_ports(3, first.base) as again:
        assert again == first


def test_a_block_with_a_taken_port_is_left_out() -> None:
    with claimed_ports(2) as block:
        pass
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections may be dying there yet
        taken.bind((HOST, block.p2p(1)))
        taken.listen()
        with claimed_ports(2) as other:
            assert other.base != block.base
        with pytest.raises(NoPorts), claimed_ports(2, block.base):
            pass
