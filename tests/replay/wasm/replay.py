"""What `p2pledger verify-chain --no-signatures --each --json` prints, of a chain that was read before."""

import json
import sys

from p2pledger.chain.block import FinalBlock
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.transaction import decode_transaction
from p2pledger.codec import decode, from_json
from p2pledger.verify_chain import Replay, as_json


def main(chain: str) -> None:
    with open(chain) as file:
        replay = Replay(from_json(Genesis, json.loads(file.readline())), is_checking=False)
        for line in file:
            block, transactions = json.loads(line)
            found = tuple(decode_transaction(bytes.fromhex(one)) for one in transactions)
            print(as_json(replay.take(decode(FinalBlock, bytes.fromhex(block)), found)))
    print(as_json(replay.head()))
    sys.stdout.flush()
