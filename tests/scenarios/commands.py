"""The commands of the stories, each a method below the pattern that it answers to. README.md lists them."""

import re
from collections.abc import Callable
from dataclasses import fields, replace

from p2pledger.chain.block import FinalBlock, Justification, Proposal
from p2pledger.chain.genesis import Parameters
from p2pledger.chain.message import Batch, Certificates, Reply, Status
from p2pledger.chain.vote import Ballot, VoteKind, evidence_of, notarise
from p2pledger.consensus import events
from p2pledger.signer.guard import Guard, GuardRefused, check_guard
from p2pledger.types import Epoch, Height, Millis, Signature, View
from tests.scenarios.names import BALLOT, GENESIS, GENESIS_DIGEST, Unknown, read_view, view
from tests.scenarios.player import Disk
from tests.scenarios.roster import list_named
from tests.scenarios.stage import START_MS, Stage
from tests.scenarios.telling import aligned

Command = Callable[..., None]

NAMES = r"[A-Z](?: [A-Z])*"
BALLOTS = rf"{BALLOT}(?: {BALLOT})*"
TO = rf"(?: to (?P<to>{NAMES}))?"
GIVEN = rf"(?: given (?P<given>{BALLOTS}))?"

COMMANDS: list[tuple[re.Pattern[str], Command]] = []


def command(pattern: str) -> Callable[[Command], Command]:
    """Make a method of `Script` the meaning of what matches a pattern, whose groups are its arguments."""

    def enter(method: Command) -> Command:
        COMMANDS.append((re.compile(pattern), method))
        return method

    return enter


class Script:
    """A stage, and the commands that are given to it."""

    def __init__(self) -> None:
        self.stage = Stage()
        self._answers: list[str] = []
        self._backups: dict[str, Disk] = {}

    def do(self, line: str) -> list[str]:
        """Carry out one command; the lines of output."""
        self._answers.clear()
        is_quiet = line.startswith("quietly ")
        line = line.removeprefix("quietly ")
        for pattern, method in COMMANDS:
            if match := pattern.fullmatch(line):
                method(self, **match.groupdict())
                break
        else:
            raise Unknown("no such command")
        self.stage.check()
        told = [*self.stage.log.read(), *self._answers]
        return [] if is_quiet else told

    # --- before the story begins -------------------------------------------------------------------------

    @command(r"let (?P<name>\w+) = (?P<value>\d+)")
    def let(self, name: str, value: str) -> None:
        if name not in {field.name for field in fields(Parameters)}:
            raise Unknown(f"the genesis file has no {name}")
        self.stage.parameters = replace(self.stage.parameters, **{name: int(value)})

    @command(rf"list of epoch (?P<epoch>\d+): (?P<names>{NAMES})")
    def list_of_epoch(self, epoch: str, names: str) -> None:
        self.stage.roster.lists[Epoch(int(epoch))] = list_named(names.split())

    @command(rf"cast (?P<real>{NAMES})(?: \((?P<puppets>{NAMES})\))?(?:, gateway (?P<gateways>{NAMES}))?")
    def cast(self, real: str, puppets: str | None, gateways: str | None) -> None:
        names = [*real.split(), *(puppets or "").split()]
        self.stage.roster.lists.setdefault(Epoch(0), list_named(sorted(names)))
        self.stage.open(real.split(), (puppets or "").split(), (gateways or "").split())

    # --- time and links ----------------------------------------------------------------------------------

    @command(r"advance (?P<time>\d+m?s)")
    def advance(self, time: str) -> None:
        self.stage.agenda.run(self.stage.now + _ms(time))

    @command(r"deliver all")
    def deliver_all(self) -> None:
        self.stage.agenda.run_until_delivered()

    @command(rf"partition (?P<parts>{NAMES}(?: \| {NAMES})+)")
    def partition(self, parts: str) -> None:
        groups = [part.split() for part in parts.split(" | ")]
        for group in groups:
            others = [name for other in groups if other is not group for name in other]
            self.stage.cut |= {(one, other) for one in group for other in others}

    @command(rf"(?P<verb>cut|lose) (?P<senders>{NAMES}) to (?P<receivers>{NAMES})")
    def cut(self, verb: str, senders: str, receivers: str) -> None:
        links = {(one, other) for one in senders.split() for other in receivers.split()}
        if verb == "cut":
            self.stage.cut |= links
        else:
            self.stage.lossy |= links

    @command(r"heal")
    def heal(self) -> None:
        self.stage.heal()

    @command(rf"(?P<one>[A-Z]) meets (?P<others>{NAMES})")
    def meets(self, one: str, others: str) -> None:
        for other in others.split():
            self.stage.meet(one, other)

    @command(r"(?P<word>show|hide) statuses")
    def show_statuses(self, word: str) -> None:
        self.stage.is_status_told = word == "show"

    # --- what happens to nodes ---------------------------------------------------------------------------

    @command(rf"submit (?P<names>t\d+(?: t\d+)*){TO}")
    def submit(self, names: str, to: str | None) -> None:
        ids = {self.stage.names.transaction(name) for name in names.split()}
        for name in to.split() if to else list(self.stage.real):
            if self.stage.real[name].core is not None:
                self.stage.submit(name, ids)

    @command(rf"crash (?P<names>{NAMES})")
    def crash(self, names: str) -> None:
        for name in names.split():
            self.stage.real[name].crash()

    @command(rf"restart (?P<names>{NAMES})")
    def restart(self, names: str) -> None:
        for name in names.split():
            self.stage.start(name)

    @command(r"hold the disk of (?P<name>[A-Z])")
    def hold_the_disk(self, name: str) -> None:
        self.stage.real[name].is_disk_held = True

    @command(r"fsync (?P<name>[A-Z])(?P<crash>, then crash)?")
    def fsync(self, name: str, crash: str | None) -> None:
        self.stage.fsync(name, crash=crash is not None)

    @command(r"back up (?P<name>[A-Z])")
    def back_up(self, name: str) -> None:
        self._backups[name] = self.stage.real[name].disk

    @command(r"restart (?P<name>[A-Z]) from its backup")
    def restart_from_backup(self, name: str) -> None:
        self.stage.real[name].disk = self._backups[name]
        self.stage.start(name)

    @command(r"restart (?P<name>[A-Z]) without its guard")
    def restart_without_guard(self, name: str) -> None:
        player = self.stage.real[name]
        player.disk = Disk(guard=None, chain=player.disk.chain)
        self.stage.start(name)

    @command(rf"move the guard of (?P<name>[A-Z]) to (?P<ballot>{BALLOT})")
    def move_guard(self, name: str, ballot: str) -> None:
        player = self.stage.real[name]
        guard = check_guard(player.disk.guard or Guard(), self.stage.names.read_ballot(ballot))
        player.disk = replace(player.disk, guard=guard)

    @command(rf"ask the guard of (?P<name>[A-Z]) for (?P<ballots>{BALLOTS})")
    def ask_guard(self, name: str, ballots: str) -> None:
        player = self.stage.real[name]
        guard = player.disk.guard or Guard()
        for ballot in self._ballots(ballots):
            told = self.stage.names.ballot(ballot)
            try:
                guard = check_guard(guard, ballot)
            except GuardRefused as refused:
                self._answers.append(f"    refuses {told}: {refused.reason.value}")
            else:
                self._answers.append(f"    allows {told}")
        player.disk = replace(player.disk, guard=guard)

    @command(r"set the clock of (?P<name>[A-Z]) (?P<sign>[+-])(?P<time>\d+m?s)")
    def set_clock(self, name: str, sign: str, time: str) -> None:
        by_ms = int(f"{sign}{_ms(time)}")
        self.stage.real[name].skew_ms += by_ms
        self.stage.give(name, events.ClockStepped(by_ms))

    @command(rf"state(?: of (?P<names>{NAMES}))?")
    def state(self, names: str | None) -> None:
        alike: dict[str, list[str]] = {}
        for name in names.split() if names else self.stage.real:
            alike.setdefault(self._state_of(name), []).append(name)
        self._answers += aligned([("   ", " ".join(who), told) for told, who in alike.items()])

    def _state_of(self, name: str) -> str:
        player = self.stage.real[name]
        if player.core is None:
            return "is down"
        s, disk = player.s, player.disk
        final = disk.chain[-1].header.digest if disk.chain else GENESIS_DIGEST
        told = (
            f"is in {view(s.epoch, s.view)}; final {self.stage.names.block(final)}; Δ {s.pacing.delta_ms}ms"
        )
        if player.is_authority:
            voted = self.stage.names.ballots(disk.guard.ballots()) if disk.guard else "lost"
            told += f"; guard {voted or 'empty'}"
            told += f"; silent: {s.voice.notice}" if s.voice.notice else ""
        return told

    # --- what the story says for those without a core ------------------------------------------------------

    @command(
        rf"block (?P<name>b\d+'*) in (?P<at>\S+) on (?P<parent>\S+?)(?: of (?P<ids>t\d+(?: t\d+)*))?"
        rf"(?: by (?P<by>[A-Z]))?(?: at (?P<time>\d+m?s))?"
        rf"(?: proving that (?P<who>[A-Z]) signed (?P<offence>{BALLOTS}))?(?:, invalid: (?P<invalid>.+))?"
    )
    def block(
        self,
        name: str,
        at: str,
        parent: str,
        ids: str | None,
        by: str | None,
        time: str | None,
        who: str | None,
        offence: str | None,
        invalid: str | None,
    ) -> None:
        names, roster = self.stage.names, self.stage.roster
        epoch, in_view = read_view(at)
        below = self.stage.blocks[names.digest(parent)].header if parent != GENESIS else None
        proposer = roster.index(by or roster.leader(epoch, in_view), epoch)
        assert proposer is not None, f"{by} is no authority of epoch {epoch}"
        least_ms = below.time_ms + 1 if below is not None else 0
        time_ms = START_MS + _ms(time) if time else max(START_MS + self.stage.now, least_ms)
        proofs = [evidence_of(*(roster.vote(who, b) for b in self._ballots(offence)))] if who else []
        made = self.stage.blocks.make(
            epoch,
            in_view,
            Height(below.height + 1 if below is not None else 1),
            names.digest(parent),
            below.view if below is not None and below.epoch == epoch else View(0),
            Millis(time_ms),
            proposer,
            tuple(sorted(names.transaction(i) for i in (ids or "").split())),
            tuple(proofs),
        )
        names.add_block(made.header, name)
        if invalid:
            self.stage.blocks.invalid[made.header.digest] = invalid

    @command(rf"(?P<who>[A-Z]) proposes (?P<block>\S+) in (?P<at>\S+){GIVEN}{TO}")
    def proposes(self, who: str, block: str, at: str, given: str | None, to: str | None) -> None:
        self._say(who, self._proposal(who, block, at, given), to)

    @command(rf"(?P<who>[A-Z]) votes (?P<ballots>{BALLOTS}){TO}")
    def votes(self, who: str, ballots: str, to: str | None) -> None:
        for ballot in self._ballots(ballots):
            self._say(who, self.stage.roster.vote(who, ballot), to)

    @command(rf"(?P<who>[A-Z]) forges (?P<ballot>{BALLOT}){TO}")
    def forges(self, who: str, ballot: str, to: str | None) -> None:
        true = self.stage.roster.vote(who, self._ballots(ballot)[0])
        self._say(who, replace(true, signature=Signature(true.signature[::-1])), to)

    @command(rf"(?P<who>[A-Z]) gives (?P<ballots>{BALLOTS})(?: signed by (?P<by>{NAMES}))?{TO}")
    def gives(self, who: str, ballots: str, by: str | None, to: str | None) -> None:
        signers = (by or "").split()
        certificates = [self.stage.certificate(b, signers) for b in self._ballots(ballots)]
        self._say(who, Certificates(tuple(certificates)), to)

    @command(
        rf"(?P<who>{NAMES}) (?P<verb>tells?|repl(?:y|ies)) (?P<at>\S+?)(?:, (?P<final>b\d+'*) final)?"
        rf"(?:, echo (?P<echo>{BALLOTS}) of (?P<whose>[A-Z]))?{TO}"
    )
    def tells(
        self,
        who: str,
        verb: str,
        at: str,
        final: str | None,
        echo: str | None,
        whose: str | None,
        to: str | None,
    ) -> None:
        epoch, in_view = read_view(at)
        digest = self.stage.names.digest(final or GENESIS)
        header = self.stage.blocks[digest].header if final else None
        votes = tuple(self.stage.roster.vote(whose, b) for b in self._ballots(echo)) if whose and echo else ()
        status = Status(
            epoch,
            in_view,
            header.view if header is not None and header.epoch == epoch else View(0),
            header.height if header is not None else Height(0),
            digest,
            votes,
            verb.startswith("repl"),
        )
        for name in who.split():
            self._say(name, status, to)

    @command(rf"gossip that (?P<who>[A-Z]) signed (?P<ballots>{BALLOTS})")
    def gossip_evidence(self, who: str, ballots: str) -> None:
        evidence = evidence_of(*(self.stage.roster.vote(who, ballot) for ballot in self._ballots(ballots)))
        for name in self.stage.real:
            self.stage.give(name, events.Gossiped(evidence))

    @command(rf"gossip (?P<block>b\d+'*)(?: final by (?P<ballot>{BALLOT}))?")
    def gossip_block(self, block: str, ballot: str | None) -> None:
        for name in self.stage.real:
            self.stage.give(name, events.Gossiped(self._final_block(block, ballot)))

    # --- answers of those without a core -----------------------------------------------------------------

    @command(r"(?P<who>[A-Z]) does not answer (?P<asker>[A-Z])")
    def does_not_answer(self, who: str, asker: str) -> None:
        ask = self._question(who, asker)
        self.stage.give(asker, events.AskFailed(ask.key, ask.peer))

    @command(r"(?P<who>[A-Z]) answers (?P<asker>[A-Z]) with nothing")
    def answers_nothing(self, who: str, asker: str) -> None:
        self._answer(who, asker)

    @command(r"(?P<who>[A-Z]) answers (?P<asker>[A-Z]) with the bodies of (?P<ids>t\d+(?: t\d+)*)")
    def answers_bodies(self, who: str, asker: str, ids: str) -> None:
        self.stage.real[asker].bodies |= {self.stage.names.transaction(i) for i in ids.split()}
        self._answer(who, asker, Batch((b"bodies",)))

    @command(
        rf"(?P<who>[A-Z]) answers (?P<asker>[A-Z]) with (?P<ballots>{BALLOTS})(?: signed by (?P<by>{NAMES}))?"
    )
    def answers_certificates(self, who: str, asker: str, ballots: str, by: str | None) -> None:
        signers = (by or "").split()
        certificates = [self.stage.certificate(b, signers) for b in self._ballots(ballots)]
        self._answer(who, asker, Certificates(tuple(certificates)))

    @command(
        rf"(?P<who>[A-Z]) answers (?P<asker>[A-Z]) with the proposal of (?P<block>\S+) in (?P<at>\S+){GIVEN}"
    )
    def answers_proposal(self, who: str, asker: str, block: str, at: str, given: str | None) -> None:
        leader = self.stage.roster.leader(*read_view(at))
        self._answer(who, asker, self._proposal(leader, block, at, given))

    @command(
        rf"(?P<who>[A-Z]) answers (?P<asker>[A-Z]) with blocks (?P<blocks>b\d+'*(?: b\d+'*)*)"
        rf"(?: final by (?P<ballots>{BALLOTS}))?"
    )
    def answers_blocks(self, who: str, asker: str, blocks: str, ballots: str | None) -> None:
        certified = {b.digest: self.stage.names.ballot(b) for b in self._ballots(ballots)}
        names = {name: self.stage.names.digest(name) for name in blocks.split()}
        self._answer(
            who, asker, *(self._final_block(n, certified.get(digest)) for n, digest in names.items())
        )

    # --- what messages are made of -----------------------------------------------------------------------

    def _ballots(self, text: str | None) -> list[Ballot]:
        return [self.stage.names.read_ballot(word) for word in (text or "").split()]

    def _say(self, who: str, frame: object, to: str | None) -> None:
        if who not in self.stage.puppets:
            raise Unknown(f"{who} speaks for itself")
        running = [name for name, player in self.stage.real.items() if player.is_authority and player.core]
        self.stage.say(who, frame, to.split() if to else running)  # type: ignore[arg-type]

    def _proposal(self, who: str, block: str, at: str, given: str | None) -> Proposal:
        epoch, in_view = read_view(at)
        made = self.stage.blocks[self.stage.names.digest(block)]
        certificates = [self.stage.certificate(ballot) for ballot in self._ballots(given)]
        parents = [c for c in certificates if c.ballot.kind is not VoteKind.SKIP]
        skips = [c for c in certificates if c.ballot.kind is VoteKind.SKIP]
        justification = Justification(parents[0] if parents else None, tuple(skips))
        vote = self.stage.roster.vote(who, notarise(epoch, in_view, made.header.digest))
        return Proposal(made.header, made.ids, made.evidence, justification, None, vote)

    def _final_block(self, block: str, ballot: str | None) -> FinalBlock:
        made = self.stage.blocks[self.stage.names.digest(block)]
        certificate = self.stage.certificate(self._ballots(ballot)[0]) if ballot else None
        return FinalBlock(made.header, made.ids, made.evidence, certificate)

    def _question(self, who: str, asker: str) -> events.Ask:
        for item in self.stage.asked:
            if item[:2] == (asker, who):
                self.stage.asked.remove(item)
                return item[2]
        raise Unknown(f"{asker} has asked {who} for nothing")

    def _answer(self, who: str, asker: str, *replies: Reply) -> None:
        ask = self._question(who, asker)
        self.stage.give(asker, events.Answered(ask.key, ask.peer, replies))


def _ms(time: str) -> int:
    return int(time[:-2]) if time.endswith("ms") else int(time[:-1]) * 1_000
