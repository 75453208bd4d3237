"""What the ledger is for: records, custody, programs, consent, and who may take part. Pure.

Kinds of transactions and schemas are closed lists, and each node counts all of them: they are facts of the
chain. What was refused at the door is counted by the node that refused it.
"""

from p2pledger.monitoring.dashboards.model import Colour, Dashboard, Kind, Panel, Row, Target, Threshold, Unit
from p2pledger.monitoring.dashboards.queries import (
    fact,
    greatest,
    growth,
    having,
    named,
    on_chain,
    rate,
    total,
)

SCHEMA = named("schema")
REFUSED = on_chain("mempool_txs_received_total", having("source", "api"), 'result!~"accepted|repeated|other"')


def became_final(kinds: str) -> tuple[Target, ...]:
    """Transactions of these kinds (a regular expression) that became final in the last hour."""
    selector = on_chain("txs_finalized_total", f'kind=~"{kinds}"', having("result", "final"))
    return (Target(fact(growth(selector), "kind"), "{{kind}}"),)


RECORDS = Row(
    "Records",
    (
        Panel(
            "Records by schema",
            "In final blocks, a second; a batch is one. A schema whose line ends has lost its devices or"
            " its gateway.",
            Unit.PER_SECOND,
            (Target(fact(rate(on_chain("records_total", SCHEMA)), "schema"), "{{schema}}"),),
            is_stacked=True,
        ),
        Panel(
            "Records in the last hour",
            "In final blocks, by schema.",
            Unit.COUNT,
            (Target(fact(growth(on_chain("records_total", SCHEMA)), "schema"), "{{schema}}"),),
            Kind.BARS,
        ),
        Panel(
            "How they were written",
            "In the last hour: one by one, in batches under a root, or as corrections of earlier ones.",
            Unit.COUNT,
            became_final("record[.].+"),
        ),
    ),
)

CUSTODY = Row(
    "Custody",
    (
        Panel(
            "Discrepancies open",
            "Loads that arrived lighter or heavier than they left, and were not settled by both sides yet."
            " Their lots are frozen. `p2pledger query custody.open-discrepancies` names them.",
            Unit.COUNT,
            (Target(fact(on_chain("custody_discrepancies_open")), "open"),),
            thresholds=(Threshold(1, Colour.DOUBTFUL),),
        ),
        Panel(
            "Lots and shipments",
            "In the last hour, by step: a shipment that is offered is accepted, and then received.",
            Unit.COUNT,
            became_final("(lot|ship)[.].+"),
        ),
        Panel(
            "Discrepancies settled",
            "In the last hour, by both sides.",
            Unit.COUNT,
            became_final("discrepancy[.]resolve"),
        ),
    ),
)

PROGRAMS = Row(
    "Programs",
    (
        Panel(
            "Claims and settlements",
            "In the last hour: weeks of driving that were claimed, months of energy that were settled.",
            Unit.COUNT,
            became_final("mobility[.]claim|energy[.]settle"),
        ),
        Panel(
            "Points",
            "Of all programs, in the last hour: minted by claims and settlements, redeemed, or taken back"
            " by audits.",
            Unit.COUNT,
            (
                Target(
                    fact(growth(on_chain("programs_points_total", named("movement"))), "movement"),
                    "{{movement}}",
                ),
            ),
        ),
        Panel(
            "Accounts, redemptions and audits",
            "In the last hour. An audit that finds another trace takes the claim's points back.",
            Unit.COUNT,
            became_final("account[.]enroll|points[.]redeem|claim[.]audit"),
        ),
    ),
)

CONSENT = Row(
    "Consent and access",
    (
        Panel(
            "Access to private data",
            "In the last hour: asked for, served by a custodian, or refused by one. Asked for and not"
            " served: a custodian does not answer.",
            Unit.COUNT,
            (Target(fact(growth(on_chain("access_total", named("result"))), "result"), "{{result}}"),),
        ),
        Panel(
            "Erasures open",
            "Data that residents want erased and some custodian still has."
            " `p2pledger query consent.overdue-erasures` names those that are late.",
            Unit.COUNT,
            (Target(fact(on_chain("consent_erasures_open")), "open"),),
        ),
        Panel(
            "Grants and mandates",
            "Given, revoked and ended in the last hour.",
            Unit.COUNT,
            became_final("(grant|mandate)[.].+"),
        ),
        Panel(
            "Data, erasure and holds",
            "Registered, asked to be erased, reported as erased, and held back, in the last hour. Each"
            " request needs a report of every custodian.",
            Unit.COUNT,
            became_final("(data|erase|hold)[.].+"),
        ),
    ),
)

PART = Row(
    "Who takes part?",
    (
        Panel(
            "Devices, keys and gateways",
            "Enrolled, joined, transferred, retired and revoked in the last hour.",
            Unit.COUNT,
            became_final("(device|key|gateway)[.].+"),
        ),
        Panel(
            "Council",
            "Proposals, votes, suspensions and changes of authorities in the last hour.",
            Unit.COUNT,
            became_final("(gov|authority)[.].+"),
        ),
        Panel(
            "Proposals open",
            "Those that the authorities are to vote on.",
            Unit.COUNT,
            (Target(fact(on_chain("governance_proposals_open")), "open"),),
        ),
        Panel(
            "Gateways",
            "Those that the ledger knows and whose key has not ended, whether they run or not.",
            Unit.COUNT,
            (Target(fact(on_chain("registry_gateways")), "gateways"),),
        ),
        Panel(
            "Refused at the door",
            "In the last hour, by code: docs/errors.md says what each means. Many of one code are one"
            " client that does it wrong, or somebody who tries.",
            Unit.COUNT,
            (
                Target(
                    greatest(8, total(growth(REFUSED), "result")),
                    "{{result}}",
                ),
            ),
            Kind.BARS,
        ),
    ),
)

CITY = Dashboard(
    "p2pledger-city",
    "p2pledger / City modules",
    "What the ledger is for: records, custody, programs, consent, and who takes part.",
    (RECORDS, CUSTODY, PROGRAMS, CONSENT, PART),
)
