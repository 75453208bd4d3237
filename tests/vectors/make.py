"""Writes the golden vectors: the bytes of every type that is hashed, signed or sent.

    python -m tests.vectors.make

They are for other implementations, and against ourselves: a change of a byte here is a change of the
protocol, and makes a new ledger necessary. Keys come from names (SHA-256), so the vectors can be made
again anywhere.
"""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from p2pledger import merkle
from p2pledger.chain.authority import Authority, AuthoritySet
from p2pledger.chain.block import (
    Boundary,
    FinalBlock,
    Header,
    Justification,
    Proposal,
    evidence_root,
    genesis_digest,
    receipts_root,
    tx_root,
)
from p2pledger.chain.genesis import LAN, Genesis, GenesisGateway, GenesisOrganisation, KeyRole, Quota
from p2pledger.chain.invite import Invitation, InviteTerms, invite_text, sign_invite
from p2pledger.chain.joining import (
    GenesisPart,
    GenesisRequest,
    HeadRequest,
    JoinReply,
    Knock,
    Proof,
    ProofRequest,
    Submission,
    Taken,
    TurnedAway,
)
from p2pledger.chain.message import (
    BlocksRequest,
    BodiesRequest,
    BoundariesRequest,
    Certificates,
    CertificatesRequest,
    Frame,
    ProposalsRequest,
    Reply,
    Request,
    Status,
)
from p2pledger.chain.payloads import (
    AccessIntent,
    AccessRefused,
    AccessServed,
    Action,
    AuditGrant,
    AuthorityAdd,
    AuthorityReady,
    AuthorityRemove,
    AuthorityRotate,
    ClaimAudit,
    CorrectionReason,
    DataRegister,
    DeviceEnroll,
    DeviceRetire,
    DeviceTransfer,
    DiscrepancyReason,
    DiscrepancyResolve,
    Drive,
    EnergyParameters,
    EnergyRow,
    EnergySettle,
    Enrolment,
    EraseDone,
    EraseRequest,
    ErasureMethod,
    Fate,
    GatewayJoin,
    GovPropose,
    GovSuspend,
    GovVote,
    GrantGive,
    GrantRevoke,
    HoldPlace,
    Item,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    LotClose,
    LotCreate,
    LotTransform,
    MandateEnd,
    MandateGive,
    MobilityClaim,
    MobilityParameters,
    NewLot,
    Operation,
    OrgQuota,
    OrgRegister,
    Parameter,
    ParameterSet,
    PointsRedeem,
    Power,
    Price,
    ProgramChange,
    ProgramCreate,
    Purpose,
    RecordAppend,
    RecordBatch,
    RecordCorrect,
    RefusalReason,
    RevocationReason,
    SchemaField,
    SchemaPublish,
    ShipAccept,
    ShipOffer,
    ShipReceive,
    SizeClass,
    StatusPublish,
    StatusPurpose,
    Terms,
    UpgradePlan,
    sign_enrolment,
)
from p2pledger.chain.payloads.bodies import (
    AdminAct,
    AiAdvice,
    Digest,
    EpcisObject,
    EpcisTransform,
    Field,
    FieldList,
    HumanDecision,
    Label,
    Number,
    SensorReading,
)
from p2pledger.chain.payloads.governance import ready_digest
from p2pledger.chain.reading import Reading, prove_reading, readings_root
from p2pledger.chain.receipt import Receipt, Result
from p2pledger.chain.schema import FieldClass, SchemaClass
from p2pledger.chain.transaction import Batch, Body, Spread, Transaction
from p2pledger.chain.vote import Ballot, Vote, certificate_of, evidence_of, finalise, notarise, skip
from p2pledger.codec import encode
from p2pledger.crypto import KeySigner
from p2pledger.ledger.commitment import Commitment
from p2pledger.ledger.entries import entry_of
from p2pledger.ledger.state import EmptyState
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, PeerId, Signature, View

PATH = Path(__file__).with_name("chain.json")
START_MS = Millis(1_700_000_000_000)


def signer(name: str) -> KeySigner:
    return KeySigner(sha256(name.encode()).digest())


def digest(name: str) -> Hash:
    return Hash(sha256(name.encode()).digest())


AUTHORITIES = AuthoritySet(
    tuple(Authority(f"org-{i}", signer(f"authority {i}").public_key, PeerId(f"peer-{i}")) for i in range(4))
)
GENESIS = Genesis(
    version=1,
    chain_id="vectors",
    time_ms=START_MS,
    # The profile's interval is another by now; bytes that others rely on do not change with it.
    parameters=replace(LAN, block_interval_ms=50),
    authorities=AUTHORITIES,
    next_authorities=AUTHORITIES,
    organisations=tuple(
        GenesisOrganisation(
            f"org-{i}", "department", (signer(f"admin {i}").public_key,), 1, Quota(600_000, 2**30)
        )
        for i in range(4)
    ),
    gateways=(GenesisGateway("org-0", signer("gateway").public_key, PeerId("gateway-peer")),),
    residents_quota=Quota(1_000, 2**20),
)
INVITE = sign_invite(
    InviteTerms(
        id=bytes(range(16)),
        organisation="org-0",
        role=KeyRole.GATEWAY,
        expires_ms=Millis(START_MS + 3_600_000),
        uses=1,
        genesis_hash=GENESIS.hash,
        issuer=signer("admin 0").public_key,
    ),
    signer("admin 0"),
)
INVITATION = Invitation(
    version=1,
    invite=INVITE,
    addresses=(
        "/ip4/192.0.2.7/tcp/7160/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA",
        "/dns/node.example.org/tcp/7160/p2p/12D3KooWL7Kxu6ocRVsTjxmfbFKEYCvgCJYJFaKh6xENd6YFv4hB",
    ),
)
DEVICE = bytes(range(16, 32))
READINGS = tuple(
    Reading(7 + i, Millis(START_MS + 1_000 * i), (i * 100, -i), bytes([i]) * 16) for i in range(5)
)
BODIES: dict[str, Any] = {
    "sensor.reading/1": SensorReading("flow", "MTQ", 1_000, (1, -2, 70_000)),
    "epcis.object/1": EpcisObject("urn:epcglobal:cbv:bt:po-17", None, "urn:epc:id:sgln:0614141.00777.0"),
    "epcis.transform/1": EpcisTransform(
        None, (Item("urn:lot:1", 900, "GRM"), Item("urn:lot:2", 100, "GRM")), (Item("urn:lot:3", 990, "GRM"),)
    ),
    "admin.act/1": AdminAct(
        "office-7", "permit", "eli:act:5:2", digest("salted"), "granted", digest("old act")
    ),
    "ai.advice/1": AiAdvice(
        "model-3", digest("model"), (digest("input"),), digest("output"), HumanDecision.OVERRIDDEN, "office-7"
    ),
    "published": FieldList(
        (
            Field("batch_id", Label("b-7")),
            Field("mass_g", Number(-12)),
            Field("operator", Digest(digest("operator and salt"))),
        )
    ),
}
STATUS_BITS = bytes.fromhex("1f8b08000000000002ff") + bytes(10)
"""Stands for compressed bits: another zlib may write other bytes."""
MANDATE = MandateGive(
    id=bytes(range(32, 48)),
    organisation="org-0",
    legal_reference="urn:lex:example:act:2020;12",
    purpose=Purpose.PROTECTION_OF_PUBLIC_SECURITY,
    powers=(Power.ACCESS, Power.SEAL, Power.HOLD),
    schemas=("personal.reading/1",),
    until_ms=Millis(START_MS + 86_400_000),
)
AUDIT_GRANT = AuditGrant(GENESIS.hash, signer("account").public_key, 2_815, "org-2")
ENROLMENT = Enrolment(GENESIS.hash, "drive-well", signer("account").public_key, digest("nullifier"))
MANIFEST = bytes(range(32, 48))
LOTS = tuple(bytes(range(first, first + 16)) for first in (48, 64, 80, 96))
MEASURES = {
    "mandate.give": MANDATE,
    "mandate.end": MandateEnd(MANDATE.id),
    "authority.add": AuthorityAdd("org-1", signer("votes").public_key, PeerId("another-peer")),
    "authority.remove": AuthorityRemove("org-1"),
    "parameter.set": ParameterSet(Parameter.BLOCK_BYTES_MAX, 1_048_576),
    "upgrade.plan": UpgradePlan(2),
    "org.register": OrgRegister(
        "clinic", "hospital", (signer("clinic 1").public_key,), 1, Quota(1_000, 2**20)
    ),
    "org.quota": OrgQuota("clinic", Quota(2_000, 2**21)),
    "program.create": ProgramCreate(
        program="drive-well",
        terms=Terms(
            from_period=2_815,
            rule_hash=digest("rules"),
            parameters=MobilityParameters(2_500, 2_500, 13_889, 10, 5, 1, 600, 1_000_000, 100),
            budget_points=1_000_000,
            claim_periods=4,
            expiry_periods=52,
        ),
        operator="org-0",
        issuer="org-1",
        auditor="org-2",
    ),
    "program.change": ProgramChange("share-sun", Terms(647, digest("rules"), EnergyParameters(5), 1, 1, 1)),
}
PAYLOADS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "key.add": (
        KeyAdd(signer("new").public_key, KeyRole.SERVICE, signer("sealed").public_key, Height(0)),
        ("admin 0", "new"),
    ),
    "key.rotate": (
        KeyRotate(signer("admin 0").public_key, signer("new").public_key, None, Height(9)),
        ("admin 0", "new"),
    ),
    "key.revoke": (
        KeyRevoke(signer("new").public_key, RevocationReason.COMPROMISED, Height(0)),
        ("admin 0",),
    ),
    "gateway.join": (GatewayJoin(signer("new").public_key, PeerId("new-peer"), INVITE), ("new",)),
    "device.enroll": (
        DeviceEnroll(
            DEVICE, signer("device").public_key, PeerId("gateway-peer"), "water_meter", digest("voucher")
        ),
        ("gateway", "device"),
    ),
    "device.transfer": (
        DeviceTransfer(DEVICE, PeerId("new-peer"), digest("voucher 2")),
        ("gateway", "device"),
    ),
    "device.retire": (DeviceRetire(DEVICE, digest("voucher 3")), ("gateway", "device")),
    "record.append": (
        RecordAppend(
            schema="epcis.object/1",
            time_ms=START_MS,
            device=DEVICE,
            seq=6,
            action=Action.OBSERVE,
            what=(Item("urn:epc:id:sgtin:0614141.107346.2017", 1_250, "GRM"),),
            where="urn:epc:id:sgln:0614141.00777.0",
            business_step="receiving",
            disposition="in_progress",
            references=(digest("earlier"),),
            body=encode(BODIES["epcis.object/1"]),
            commitment=None,
        ),
        ("device",),
    ),
    "record.batch": (
        RecordBatch(
            schema="sensor.reading/1",
            device=DEVICE,
            from_seq=7,
            to_seq=11,
            count=5,
            first_ms=START_MS,
            last_ms=Millis(START_MS + 4_000),
            root=readings_root(READINGS),
        ),
        ("gateway",),
    ),
    "record.correct": (
        RecordCorrect(digest("wrong"), CorrectionReason.INCORRECT_DATA, (digest("right"),)),
        ("admin 0",),
    ),
    "status.publish": (
        StatusPublish("employees-2026", 1, StatusPurpose.REVOCATION, STATUS_BITS),
        ("admin 0",),
    ),
    "schema.publish": (
        SchemaPublish(
            "water.quality/1",
            SchemaClass.PUBLIC,
            digest("schema"),
            (
                SchemaField("name", FieldClass.FORBIDDEN),
                SchemaField("operator", FieldClass.COMMIT),
                SchemaField("turbidity_mntu", FieldClass.PUBLIC),
            ),
        ),
        ("admin 0",),
    ),
    "gov.propose": (
        GovPropose("authority.remove", encode(AuthorityRemove("org-1")), Height(40), "b:1", digest("why")),
        ("admin 0",),
    ),
    "gov.vote": (GovVote(digest("proposal"), approves=True), ("admin 0",)),
    "gov.suspend": (GovSuspend("org-1", Millis(START_MS + 60_000)), ("admin 0",)),
    "authority.ready": (
        AuthorityReady(
            signer("votes").public_key,
            Height(7),
            digest("head"),
            signer("votes").sign(
                ready_digest(GENESIS.hash, signer("votes").public_key, Height(7), digest("head"))
            ),
        ),
        ("admin 0",),
    ),
    "authority.rotate": (
        AuthorityRotate(signer("votes").public_key, PeerId("another-peer")),
        ("admin 0",),
    ),
    "data.register": (
        DataRegister(
            commitment=digest("payload"),
            schema="personal.reading/1",
            handle=signer("handle").public_key,
            custodians=("org-0", "org-1", "org-2"),
            threshold=2,
            size_class=SizeClass.KIB_64,
            retain_until_ms=Millis(1_735_689_600_000),
        ),
        ("gateway",),
    ),
    "grant.give": (
        GrantGive(
            handle=signer("handle").public_key,
            grantee="org-1",
            purpose=Purpose.SCIENTIFIC_RESEARCH,
            operations=(Operation.CONSULT, Operation.ANALYSE),
            notice_hash=digest("notice"),
            until_ms=Millis(START_MS + 86_400_000),
            max_uses=12,
            price=Price(2_500, "EUR"),
        ),
        ("handle", "gateway"),
    ),
    "grant.revoke": (GrantRevoke(digest("grant")), ("handle", "gateway")),
    "access.intent": (
        AccessIntent(
            data=digest("data"),
            grant=None,
            mandate=MANDATE.id,
            purpose=MANDATE.purpose,
            encryption_key=signer("one time").public_key,
            opens_height=Height(1_000),
        ),
        ("admin 0",),
    ),
    "access.served": (AccessServed(digest("intent")), ("admin 0",)),
    "access.refused": (AccessRefused(digest("intent"), RefusalReason.NO_BASIS), ("admin 0",)),
    "erase.request": (EraseRequest(signer("handle").public_key, None), ("handle", "gateway")),
    "erase.done": (EraseDone(digest("data"), ErasureMethod.CRYPTOGRAPHIC_ERASE), ("admin 0",)),
    "hold.place": (
        HoldPlace(
            mandate=MANDATE.id,
            handle=None,
            data=digest("data"),
            order_hash=digest("order"),
            until_ms=Millis(START_MS + 86_400_000),
        ),
        ("admin 0",),
    ),
    "account.enroll": (sign_enrolment(ENROLMENT, signer("admin 1")), ("gateway", "account")),
    "mobility.claim": (
        MobilityClaim(
            signer("account").public_key, 2_815, Drive(37_149, 4_000, 3, 2, 60, 4_391), digest("trace")
        ),
        ("gateway", "account"),
    ),
    "energy.settle": (
        EnergySettle(
            program="share-sun",
            feeder="urn:feeder:7",
            period=647,
            produced_wh=1_000_000,
            consumed_wh=400_000,
            rows=tuple(
                sorted(
                    (
                        EnergyRow(signer("account 1").public_key, 300_000),
                        EnergyRow(signer("account 2").public_key, 700_000),
                    ),
                    key=lambda row: row.account,
                )
            ),
        ),
        ("admin 0",),
    ),
    "points.redeem": (PointsRedeem(signer("account").public_key, 250, "org-3"), ("gateway", "account")),
    "claim.audit": (
        ClaimAudit(
            signer("account").public_key,
            2_815,
            False,
            digest("another trace"),
            signer("account").sign(AUDIT_GRANT.sign_digest()),
        ),
        ("admin 2",),
    ),
    "lot.create": (
        LotCreate(
            lot=LOTS[0],
            material="200301",
            mass_g=1_250_000,
            place="container:4711",
            time_ms=START_MS,
            weighing=digest("weighing"),
        ),
        ("gateway", "device"),
    ),
    "ship.offer": (ShipOffer(MANIFEST, LOTS[:2], "org-1", "org-2"), ("admin 0",)),
    "ship.accept": (ShipAccept(MANIFEST), ("admin 0",)),
    "ship.receive": (
        ShipReceive(MANIFEST, 1_249_000, "facility:sorting-1", digest("weighing 2")),
        ("admin 0",),
    ),
    "lot.transform": (
        LotTransform(
            inputs=LOTS[:2],
            outputs=(NewLot(LOTS[2], "191201", 900_000), NewLot(LOTS[3], "04006381333931", 348_000)),
            loss_g=1_000,
            process="sorting",
            place="facility:sorting-1",
        ),
        ("admin 0",),
    ),
    "lot.close": (LotClose(LOTS[2], Fate.RECYCLED), ("admin 0",)),
    "discrepancy.resolve": (
        DiscrepancyResolve(MANIFEST, DiscrepancyReason.MOISTURE, 1_200_000),
        ("admin 0", "admin 1"),
    ),
}


def transaction(number: int, kind: str) -> Transaction:
    payload, names = PAYLOADS[kind]
    signers = sorted(map(signer, names), key=lambda one: one.public_key)
    body = Body(
        version=1,
        genesis_hash=GENESIS.hash,
        expires_ms=Millis(START_MS + 60_000),
        salt=number.to_bytes(8, "big"),
        kind=kind,
        payload=encode(payload),
        sponsor="org-0",
        signers=tuple(one.public_key for one in signers),
    )
    return Transaction(body, tuple(one.sign(body.id) for one in signers))


TRANSACTIONS = {kind: transaction(i, kind) for i, kind in enumerate(PAYLOADS)}
IDS = tuple(one.id for one in TRANSACTIONS.values())
RESULTS = tuple(Result(one, Height(1), i, b"") for i, one in enumerate(IDS))
LEAVES = [result.leaf() for result in RESULTS]
HEADER = Header(
    version=1,
    genesis_hash=GENESIS.hash,
    epoch=Epoch(0),
    view=View(1),
    height=Height(1),
    parent_digest=genesis_digest(GENESIS),
    parent_view=View(0),
    time_ms=Millis(START_MS + 50),
    tx_root=tx_root(IDS),
    state_root=digest("state"),
    receipts_root=receipts_root(len(LEAVES), merkle.root(LEAVES)),
    next_set_hash=ZERO_HASH,
    evidence_root=evidence_root(()),
    proposer=1,
)
LAST = replace(HEADER, next_set_hash=AUTHORITIES.hash)


def vote(ballot: Ballot, i: int) -> Vote:
    key = signer(f"authority {i}")
    return Vote(ballot, i, Signature(key.sign(ballot.sign_digest(GENESIS.hash, AUTHORITIES.hash))))


BALLOTS = {
    "N": notarise(Epoch(0), View(1), HEADER.digest),
    "X": skip(Epoch(0), View(1)),
    "F": finalise(Epoch(0), View(1), HEADER.digest),
}
CERTIFICATES = {
    name: certificate_of([vote(ballot, i) for i in (0, 2, 3)], 4) for name, ballot in BALLOTS.items()
}
EVIDENCE = {
    "X and F": evidence_of(vote(BALLOTS["X"], 2), vote(BALLOTS["F"], 2)),
    "N and N": evidence_of(vote(BALLOTS["N"], 3), vote(notarise(Epoch(0), View(1), digest("another")), 3)),
}
PROPOSAL = Proposal(
    header=HEADER,
    transaction_ids=IDS,
    evidence=(),
    justification=Justification(None, (CERTIFICATES["X"],)),
    newest_final=CERTIFICATES["F"],
    vote=vote(BALLOTS["N"], 1),
)
BLOCK = FinalBlock(HEADER, IDS, (EVIDENCE["X and F"],), CERTIFICATES["F"])
BOUNDARY = Boundary(
    LAST,
    certificate_of([vote(finalise(Epoch(0), View(2), LAST.digest), i) for i in (0, 1, 2)], 4),
    AUTHORITIES,
)
RECEIPT = Receipt(
    transaction=TRANSACTIONS["record.batch"].encoded,
    inclusion=merkle.path([merkle.leaf_hash(one) for one in IDS], list(PAYLOADS).index("record.batch")),
    result=RESULTS[list(PAYLOADS).index("record.batch")],
    result_path=merkle.path(LEAVES, list(PAYLOADS).index("record.batch")),
    headers=(HEADER,),
    certificate=CERTIFICATES["F"],
    boundaries=(),
)
STATUS = Status(Epoch(0), View(3), View(1), Height(1), HEADER.digest, (vote(BALLOTS["N"], 2),), False)
BATCH = Batch((TRANSACTIONS["record.batch"].encoded,))
SPREAD = Spread(Millis(1_767_225_600_123), BATCH.transactions)

VALUES: dict[str, tuple[Any, Any]] = {
    "genesis": (Genesis, GENESIS),
    "authority set": (AuthoritySet, AUTHORITIES),
    "header": (Header, HEADER),
    "final block": (FinalBlock, BLOCK),
    "boundary": (Boundary, BOUNDARY),
    "result": (Result, RESULTS[3]),
    "receipt": (Receipt, RECEIPT),
    "spread": (Spread, SPREAD),
    "invite": (type(INVITE), INVITE),
    "invitation": (Invitation, INVITATION),
    "reading": (Reading, READINGS[2]),
    "merkle path": (merkle.Path, prove_reading(READINGS, 9)),
    "frontier": (merkle.Frontier, merkle.Frontier().append(LEAVES)),
    **{f"payload {kind}": (type(payload), payload) for kind, (payload, _) in PAYLOADS.items()},
    **{f"measure {kind}": (type(payload), payload) for kind, payload in MEASURES.items()},
    **{f"body {schema}": (type(body), body) for schema, body in BODIES.items()},
    **{f"transaction {kind}": (Transaction, one) for kind, one in TRANSACTIONS.items()},
    **{f"certificate {name}": (type(one), one) for name, one in CERTIFICATES.items()},
    **{
        f"frame {type(one).__name__}": (Frame, one)
        for one in (
            PROPOSAL,
            vote(BALLOTS["F"], 2),
            STATUS,
            Certificates((CERTIFICATES["N"], CERTIFICATES["X"])),
            BATCH,
            EVIDENCE["N and N"],
        )
    },
    **{
        f"request {type(one).__name__}": (Request, one)
        for one in (
            BoundariesRequest(Epoch(2), 64),
            BlocksRequest(Height(5), 256),
            BodiesRequest(IDS[:2]),
            CertificatesRequest(Epoch(0), View(3), View(9)),
            ProposalsRequest(Epoch(0), (HEADER.digest,)),
        )
    },
    **{
        f"reply {type(one).__name__}": (Reply, one)
        for one in (BOUNDARY, BLOCK, BATCH, Certificates(()), PROPOSAL)
    },
    **{
        f"knock {type(wish).__name__}": (Knock, Knock(INVITE, wish))
        for wish in (
            BoundariesRequest(Epoch(2), 64),
            GenesisRequest(0),
            HeadRequest(Height(1)),
            Submission(TRANSACTIONS["gateway.join"].encoded),
            ProofRequest(IDS[0]),
        )
    },
    **{
        f"join reply {type(one).__name__}": (JoinReply, one)
        for one in (
            BOUNDARY,
            BLOCK,
            GenesisPart(b"part"),
            Taken(IDS[0]),
            Proof(RECEIPT),
            TurnedAway("invite_used", "another gateway came in on this invite"),
        )
    },
}
"""Every encoding: by name, the class or union that it is decoded as, and the value."""

HASHES: dict[str, bytes] = {
    "genesis hash": GENESIS.hash,
    "set hash": AUTHORITIES.hash,
    "genesis digest": genesis_digest(GENESIS),
    "header digest": HEADER.digest,
    **{
        f"sign digest {name}": ballot.sign_digest(GENESIS.hash, AUTHORITIES.hash)
        for name, ballot in BALLOTS.items()
    },
    **{f"transaction id {kind}": one.id for kind, one in TRANSACTIONS.items()},
    "tx_root": HEADER.tx_root,
    "receipts_root": HEADER.receipts_root,
    "empty tx_root": tx_root(()),
    "empty receipts_root": receipts_root(0, merkle.EMPTY_ROOT),
    "evidence_root": evidence_root(tuple(EVIDENCE.values())),
    "result leaf": LEAVES[0],
    "reading leaf": READINGS[0].leaf(),
    "readings root": readings_root(READINGS),
    "ready digest": ready_digest(GENESIS.hash, signer("votes").public_key, Height(7), digest("head")),
    "invite digest": INVITE.terms.sign_digest(),
    "state leaf": entry_of(b"key", b"value").leaf,
    "state root of two keys": Commitment(65_536).update(EmptyState(), {b"a": b"1", b"b": b"2"}).crown.root,
    "state root of a split bucket": Commitment(16)
    .update(EmptyState(), {b"%d" % n: b"x" for n in range(2_000)})
    .crown.root,
}


def vectors() -> dict[str, Any]:
    """All vectors, as they stand in the file."""
    return {
        "encodings": {name: encode(value, kind).hex() for name, (kind, value) in VALUES.items()},
        "hashes": {name: value.hex() for name, value in HASHES.items()},
        "texts": {"invite": invite_text(INVITATION)},
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(vectors(), indent=1) + "\n")
