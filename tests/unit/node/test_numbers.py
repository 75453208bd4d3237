"""Whatever is asked for, at the end of every number there is: an answer that can be sent, or none."""

from dataclasses import fields
from itertools import product

import pytest
from p2pledger.chain.message import (
    BlocksRequest,
    BodiesRequest,
    BoundariesRequest,
    CertificatesRequest,
    ProposalsRequest,
    Reply,
    Request,
)
from p2pledger.codec import decode, encode
from p2pledger.node.answers import answers
from p2pledger.storage.memory import MemoryStore
from p2pledger.storage.sqlite import SqliteStore
from p2pledger.types import Hash
from tests.sim.bench import Bench, x
from tests.unit.storage.chains import GENESIS, Chain, start

EDGES = (0, 1, 2**31, 2**32, 2**63 - 17, 2**63 - 1, 2**63, 2**64 - 1)
COUNTS = {BoundariesRequest: (1, 64), BlocksRequest: (1, 256)}
REQUESTS = [
    *(kind(edge, count) for kind, counts in COUNTS.items() for edge, count in product(EDGES, counts)),
    *(CertificatesRequest(*edges) for edges in product(EDGES, repeat=3)),
    *(ProposalsRequest(edge, (Hash(bytes(32)),)) for edge in EDGES),
    BodiesRequest((Hash(bytes(32)), Hash(b"\xff" * 32))),
]


@pytest.fixture(params=["sqlite", "memory"])
def store(request, tmp_path):
    made = (
        SqliteStore(tmp_path, GENESIS, start())
        if request.param == "sqlite"
        else MemoryStore(GENESIS, start())
    )
    chain = Chain()
    for _ in range(3):
        chain.commit(made, [chain.transaction()])
    yield made
    made.close()


def test_the_edge_of_every_number_of_every_request(store):
    bench = Bench()
    bench.give(x(1), x(2))
    for request in REQUESTS:
        assert decode(Request, encode(request, Request)) == request
        replies = list(answers(request, bench.s, store, {}))
        for reply in replies:
            assert decode(Reply, encode(reply, Reply)) == reply
        if isinstance(request, BlocksRequest):
            heights = [reply.header.height for reply in replies]
            assert heights == [h for h in (1, 2, 3) if request.from_height <= h][: request.count]


def test_leaves_beyond_the_end(store):
    leaves = list(store.result_leaves(0, 2**63))
    assert len(leaves) == 3
    for first in EDGES:
        assert list(store.result_leaves(first, 2**62)) == leaves[first:]


def test_every_number_of_every_request_is_tried():
    numbers = {(type(one), field.name) for one in REQUESTS for field in fields(one)}
    assert {kind for kind, _ in numbers} == set(Request.__args__)
    for kind, name in numbers:
        values = {getattr(one, name) for one in REQUESTS if type(one) is kind}
        if name not in ("count", "ids", "digests"):
            assert values == set(EDGES)
