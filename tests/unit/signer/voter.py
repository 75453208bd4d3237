"""A process that votes in view after view and says each view only once its vote was given out."""

import sys
from pathlib import Path

from p2pledger.chain.vote import Vote, notarise
from p2pledger.types import Epoch, Hash, View
from tests.unit.signer.ballots import open_signer


def main() -> None:
    signer = open_signer(Path(sys.argv[1]))
    view = signer.load().guard.view
    while True:
        view = View(view + 1)
        vote = signer.sign_vote(notarise(Epoch(0), view, Hash(b"a" * 32)), (), None, ())
        assert isinstance(vote, Vote)
        print(view, flush=True)


main()
