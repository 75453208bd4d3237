"""Refusals of programs that reward driving and share energy."""

from collections.abc import Iterator
from dataclasses import replace

from p2pledger.chain.genesis import RESIDENTS
from p2pledger.chain.payloads import ClaimAudit, PointsRedeem, ProgramChange
from p2pledger.errors import Code
from p2pledger.ledger.modules.programs.rows import VERSIONS_MAX
from tests.programs import CAREFUL, MONTH, SUN, WEEK, claim, create, digest, key, settle, terms
from tests.unit.api.codes.node_alone import Case, City

RESIDENT, OPERATOR, AUDITOR = (
    (RESIDENTS, "city gateway"),
    ("utility", "utility 1"),
    ("authority-0", "admin 0"),
)


def enrolled(city: City) -> Iterator[Case]:
    """Programs and accounts that there cannot be."""
    yield Code.UNKNOWN_PROGRAM, city.one(city.enrolment("ann"), *RESIDENT, "ann")
    city.enacts(create())
    city.enacts(SUN)
    yield Code.PROGRAM_TAKEN, city.proposes(create())
    yield Code.WRONG_ENGINE, city.proposes(ProgramChange("sun", terms(from_period=WEEK + 3)))
    forged = replace(city.enrolment("ann"), nullifier=digest("another"))
    yield Code.ENROLMENT_INVALID, city.one(forged, *RESIDENT, "ann")
    city.enrolls("ann")
    yield Code.NULLIFIER_USED, city.one(city.enrolment("new", nullifier="ann"), *RESIDENT, "new")
    for i in range(2, VERSIONS_MAX + 1):
        city.adopts(ProgramChange("drive", terms(from_period=WEEK + i)), city.height + 5)
    late = ProgramChange("drive", terms(from_period=WEEK + VERSIONS_MAX + 1))
    yield Code.TOO_MANY_VERSIONS, city.proposes(late)


def rewarded(city: City) -> Iterator[Case]:
    """What is not rewarded, redeemed or audited."""
    city.enacts(create(rules=terms(budget_points=19_000)))
    city.enacts(SUN)
    city.enrolls("ann", "ben")
    city.enrolls("sol", "sky", program="sun")
    city.week(2)
    yield Code.UNKNOWN_ACCOUNT, city.one(claim("new"), *RESIDENT, "new")
    yield Code.PERIOD_NOT_OPEN, city.one(claim(period=WEEK), *RESIDENT, "ann")
    coarse = claim(drive=replace(CAREFUL, samples=7_000))
    yield Code.TRACE_TOO_COARSE, city.one(coarse, *RESIDENT, "ann")

    def audit(account: str, is_match: bool = True, root: str = "trace") -> ClaimAudit:
        return ClaimAudit(key(account), WEEK + 1, is_match, digest(root), digest("grant"))

    yield Code.UNKNOWN_CLAIM, city.one(audit("ann"), *AUDITOR)
    city.earns("ann", WEEK + 1)
    yield Code.ALREADY_CLAIMED, city.one(claim(), *RESIDENT, "ann")
    yield Code.OVER_BUDGET, city.one(claim("ben"), *RESIDENT, "ben")
    yield Code.TOO_FEW_POINTS, city.one(PointsRedeem(key("ann"), 9_551, "utility"), *RESIDENT, "ann")
    yield Code.AUDIT_CONTRADICTORY, city.one(audit("ann", root="other"), *AUDITOR)
    city.does(audit("ann"), *AUDITOR)
    yield Code.ALREADY_AUDITED, city.one(audit("ann"), *AUDITOR)
    city.month(2)
    yield Code.WRONG_ENGINE, city.one(claim("sol", MONTH + 1), *RESIDENT, "sol")
    yield Code.TOO_FEW_ACCOUNTS, city.one(settle({"sol": 3}), *OPERATOR)
    wrong = replace(settle({"sol": 1, "sky": 2}), produced_wh=4)
    yield Code.NOT_BALANCED, city.one(wrong, *OPERATOR)


STORIES = (enrolled, rewarded)
