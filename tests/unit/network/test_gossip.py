import pytest
import trio
import trio.testing
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.rsa import create_new_key_pair as create_rsa_key_pair
from libp2p.crypto.secp256k1 import create_new_key_pair as create_secp256k1_key_pair
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX, signature_validator
from p2pledger.network import gossip
from p2pledger.network.gossip import SEEN_S, SeenMessages
from p2pledger.network.router import IDS_MAX, RECENT_BYTES, RecentMessages, message_id


def message(data: bytes, topic: str = "topic") -> rpc_pb2.Message:
    return rpc_pb2.Message(data=data, topicIDs=[topic])


async def test_an_id_is_seen_for_a_while(autojump_clock: trio.testing.MockClock) -> None:
    seen = SeenMessages()
    seen.add(b"old")
    await trio.sleep(SEEN_S - 1)
    seen.add(b"young")
    assert seen.has(b"old") and seen.has(b"young") and not seen.has(b"other")
    await trio.sleep(2)
    seen.add(b"new")
    assert not seen.has(b"old") and seen.has(b"young")


async def test_seen_ids_are_bounded() -> None:
    seen = SeenMessages()
    for index in range(gossip.SEEN_MAX + 5):
        seen.add(index.to_bytes(4, "big"))
    assert not seen.has((4).to_bytes(4, "big")) and seen.has((5).to_bytes(4, "big"))


def test_recent_messages_last_five_heartbeats_and_are_announced_for_three() -> None:
    recent, first = RecentMessages(), message(b"first")
    recent.put(first)
    recent.put(first)
    for _ in range(2):
        recent.shift()
        assert recent.window("topic") == [message_id(first)]
    recent.shift()
    assert recent.window("topic") == [] and recent.get(message_id(first)) is first
    recent.shift()
    recent.shift()
    assert recent.get(message_id(first)) is None


def test_recent_messages_are_bounded_in_bytes() -> None:
    recent = RecentMessages()
    sent = [message(bytes([index]) * (RECENT_BYTES // 4)) for index in range(6)]
    for each in sent:
        recent.put(each)
    kept = [message_id(each) for each in sent[2:]]
    assert recent.window("topic") == kept
    for _ in range(5):
        recent.shift()
    recent.put(message(bytes(RECENT_BYTES)))
    assert len(recent.msgs) == 1


def test_announcements_are_bounded() -> None:
    recent = RecentMessages()
    for index in range(IDS_MAX + 10):
        recent.put(message(b"%d" % index))
    assert len(recent.window("topic")) == IDS_MAX


@pytest.mark.parametrize("kind", ["ed25519", "secp256k1", "rsa"])
def test_a_signature_is_judged_as_the_library_judges_it(kind: str) -> None:
    makers = {
        "ed25519": lambda: create_new_key_pair(b"k" * 32),
        "secp256k1": create_secp256k1_key_pair,
        "rsa": lambda: create_rsa_key_pair(2048),
    }
    keys, other = makers[kind](), create_new_key_pair(b"o" * 32)
    origin = ID.from_pubkey(keys.public_key).to_bytes()
    signed = rpc_pb2.Message(data=b"data", topicIDs=["topic"], from_id=origin, seqno=b"1")
    payload = PUBSUB_SIGNING_PREFIX.encode() + signed.SerializeToString()
    signed.signature = keys.private_key.sign(payload)
    signed.key = keys.public_key.serialize()
    changes = [
        {},
        {"data": b"other"},
        {"seqno": b"2"},
        {"signature": b""},
        {"signature": other.private_key.sign(payload)},
        {"key": other.public_key.serialize()},
        {"key": b""},
        {"from_id": ID.from_pubkey(other.public_key).to_bytes()},
        {"from_id": b"no id"},
        {"from_id": origin + bytes(100)},
    ]
    verdicts = []
    for change in changes:
        tried = rpc_pb2.Message()
        tried.CopyFrom(signed)
        for name, value in change.items():
            setattr(tried, name, value)
        try:
            stock = signature_validator(tried)
        except Exception:  # what it raises is a refusal to us
            stock = False
        verdicts.append(gossip._is_signed(tried))
        assert verdicts[-1] == stock, change
    assert verdicts[0] and not all(verdicts)
