"""`p2pledger why-stalled`: what nodes say of why nothing becomes final, for people. Floor 8."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import ValidationError
from rich.console import Console, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from p2pledger.api.diagnosis_view import ConsensusView, StandingView
from p2pledger.consensus.look import span

REQUEST_S = 5.0

HEALTHY, STALLED, UNREACHABLE = 0, 1, 2
"""The exit codes. Of several nodes: stalled if one is, else unreachable if one is."""


@dataclass(frozen=True)
class Answer:
    """What one node said: where it stands, or why it did not say."""

    url: str
    content: Any = None
    consensus: ConsensusView | None = None
    error: str = ""

    @property
    def who(self) -> str:
        """The node in a sentence."""
        named = self.consensus is not None and self.consensus.organisation
        return f"{named} at {self.url}" if named else self.url


def ask(url: str) -> Answer:
    """Ask one node; whatever goes wrong is its answer."""
    url = (url if "://" in url else f"http://{url}").rstrip("/")
    try:
        reply = httpx.get(f"{url}/v1/consensus", timeout=REQUEST_S, trust_env=False)
        reply.raise_for_status()
        # A newer node may say more than is known here.
        consensus = ConsensusView.model_validate_json(reply.content, extra="ignore")
    except httpx.InvalidURL as error:
        return Answer(url, error=str(error))
    except httpx.HTTPStatusError as error:
        return Answer(url, error=f"it answered {error.response.status_code}")
    except httpx.HTTPError as error:
        return Answer(url, error=str(error) or type(error).__name__)
    except ValidationError:
        return Answer(url, error="it does not answer as a node does")
    return Answer(url, json.loads(reply.content), consensus)


def run(urls: Sequence[str], *, is_json: bool, console: Console) -> int:
    """Ask these nodes and show what they say; returns the exit code."""
    answers = [ask(url) for url in urls]
    if is_json:
        nodes = [{"url": a.url, "consensus": a.content, "error": a.error or None} for a in answers]
        console.print(json.dumps({"nodes": nodes}), soft_wrap=True, highlight=False, markup=False)
    else:
        for answer in answers:
            _show(answer, console)
        for line in _across(answers):
            console.print(Text(line))
    if any(a.consensus is not None and not a.consensus.is_healthy for a in answers):
        return STALLED
    return UNREACHABLE if any(a.consensus is None for a in answers) else HEALTHY


def _show(answer: Answer, console: Console) -> None:
    consensus = answer.consensus
    if consensus is None:
        console.print(Text.assemble((f"{answer.who}: not reachable", "bold red"), f" ({answer.error})"))
        _print(console, Text("See that the process runs, and that its API can be reached."))
        console.print()
        return
    verdict, style = ("healthy", "bold green") if consensus.is_healthy else ("stalled", "bold red")
    console.print(Text(f"{answer.who}: {verdict}", style))
    for reason in sorted(consensus.reasons, key=lambda reason: not reason.is_trouble):
        _print(
            console,
            Text.assemble((reason.sentence, "bold" if reason.is_trouble else ""), f" [{reason.code}]"),
        )
        if reason.code not in ("idle", "working"):
            _print(console, Text(reason.cure, "cyan"), indent=4)
    for line in _where(consensus):
        _print(console, Text(line))
    _print(console, _table(consensus))
    console.print()


def _print(console: Console, what: RenderableType, indent: int = 2) -> None:
    console.print(Padding(what, (0, 0, 0, indent), expand=False))


def _where(consensus: ConsensusView) -> Iterator[str]:
    final = f"Block {consensus.final_height} became final" if consensus.final_height else "This node started"
    view = f"View {consensus.view} of epoch {consensus.epoch}, led by {consensus.leader}, began"
    proposal = f"; its proposal is {'here' if consensus.has_proposal else 'not here yet'}"
    if consensus.organisation is None:
        proposal = ""  # only authorities are sent one
    yield (
        f"{final} {span(consensus.final_age_ms)} ago. {view}"
        f" {span(consensus.now_ms - consensus.entered_ms)} ago{proposal}."
    )
    newest = [f"{each.kind} of view {each.view} ({span(each.age_ms)} ago)" for each in consensus.newest]
    if newest:
        yield f"Last certificates: {', '.join(newest)}."
    offences = Counter((each.organisation, each.is_recorded) for each in consensus.evidence)
    for (organisation, is_recorded), count in sorted(offences.items()):
        state = "recorded in the chain" if is_recorded else "still to be recorded"
        views = f"{count} views" if count > 1 else "1 view"
        yield f"{organisation} has contradicted itself in {views}: {state}."


def _table(consensus: ConsensusView) -> Table:
    """One line per authority, without the columns that say nothing of any."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    rows = [_row(each, consensus) for each in consensus.authorities]
    columns = ("", "authority", "link", "heard", "view", "final", "behind", f"votes in view {consensus.view}")
    shown = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    for i in shown:
        justify: JustifyMethod = "right" if columns[i] in ("heard", "view", "final", "behind") else "left"
        table.add_column(columns[i], justify=justify, no_wrap=i < len(columns) - 1)
    for row in rows:
        table.add_row(*(Text(row[i]) for i in shown))
    return table


def _row(each: StandingView, consensus: ConsensusView) -> tuple[str, ...]:
    mark, votes = ">" if each.is_leader else "", ", ".join(each.voted)
    if each.is_self:
        at = f"{consensus.epoch}/{consensus.view}"
        return mark, each.organisation, "self", "", at, str(consensus.final_height), "", votes
    link = {True: "yes", False: "no", None: "?"}[each.is_connected]
    heard = f"{span(each.heard_age_ms)} ago" if each.heard_age_ms is not None else "never"
    if consensus.organisation is None:
        heard = ""  # authorities say nothing to a node without a vote
    if each.final_height is None or each.blocks_behind is None:
        return mark, each.organisation, link, heard, "", "", "", votes
    at = f"{each.epoch}/{each.view}"
    behind = str(max(0, each.blocks_behind))
    return mark, each.organisation, link, heard, at, str(each.final_height), behind, votes


def _across(answers: Sequence[Answer]) -> Iterator[str]:
    """What no node can see by itself: who is up, and all the same not heard by another."""
    if len(answers) < 2:
        return
    known = [(a, a.consensus) for a in answers if a.consensus is not None]
    up = {consensus.organisation for _, consensus in known}
    for answer, consensus in known:
        unheard = {"no_quorum_heard", "authority_silent"}
        silent = {o for r in consensus.reasons if r.code in unheard for o in r.organisations}
        for organisation in sorted(silent & up - {None}, key=str):
            yield f"{organisation} answers, and {answer.who} does not hear it: mend the network between them."
    yield f"{len(known)} of {len(answers)} nodes answered."
