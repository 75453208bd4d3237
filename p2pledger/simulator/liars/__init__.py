"""Liars, one idea each: what an authority may do with its own key and with what it hears. Floor 8."""

from p2pledger.simulator.liars.bad_justification import BadJustification
from p2pledger.simulator.liars.boundary_breaker import BoundaryBreaker
from p2pledger.simulator.liars.certificate_forger import CertificateForger
from p2pledger.simulator.liars.certificate_hider import CertificateHider
from p2pledger.simulator.liars.colluder import Colluder
from p2pledger.simulator.liars.double_voter import DoubleVoter
from p2pledger.simulator.liars.equivocating_proposer import EquivocatingProposer
from p2pledger.simulator.liars.future_spammer import FutureSpammer
from p2pledger.simulator.liars.garbage_sender import GarbageSender
from p2pledger.simulator.liars.liar import HONEST, Liar
from p2pledger.simulator.liars.misfit_proposer import MisfitProposer
from p2pledger.simulator.liars.replayer import Replayer
from p2pledger.simulator.liars.root_liar import RootLiar
from p2pledger.simulator.liars.stale_epoch_voter import StaleEpochVoter
from p2pledger.simulator.liars.time_liar import TimeLiar
from p2pledger.simulator.liars.unhelpful import Unhelpful
from p2pledger.simulator.liars.vote_withholder import VoteWithholder
from p2pledger.simulator.liars.wrong_content import WrongContent

LIARS: dict[str, type[Liar]] = {
    liar.__name__: liar
    for liar in (
        BadJustification,
        BoundaryBreaker,
        CertificateForger,
        CertificateHider,
        Colluder,
        DoubleVoter,
        EquivocatingProposer,
        FutureSpammer,
        GarbageSender,
        MisfitProposer,
        Replayer,
        RootLiar,
        StaleEpochVoter,
        TimeLiar,
        Unhelpful,
        VoteWithholder,
        WrongContent,
    )
}
"""All of them, by name: a plan draws from these."""

__all__ = ["HONEST", "LIARS", "Liar"]
