"""Which tests run beside each other when `make test` runs several at a time, in workers of pytest-xdist.

Any two, but for those that start a ledger of real processes: these have clocks that a crowded machine would
upset, and a ledger that is started again wants the ports that it had. So there is one such test at a time,
and what needs no processes runs beside it.
"""

from xdist.scheduler import LoadScopeScheduling

LEDGERS_OF_PROCESSES = {
    "tests/alerts/test_alerts.py",
    "tests/dashboards/test_live.py",
    "tests/faults/test_bad_input.py",
    "tests/faults/test_catching_up.py",
    "tests/faults/test_confined.py",
    "tests/faults/test_crashes.py",
    "tests/faults/test_fault_command.py",
    "tests/faults/test_faults.py",
    "tests/faults/test_idle.py",
    "tests/faults/test_restore.py",
    "tests/faults/test_rolling.py",
    "tests/faults/test_starting_and_stopping.py",
    "tests/faults/test_why_stalled.py",
    "tests/k8s/test_pods.py",
    "tests/net/test_authority_changes.py",
    "tests/net/test_join.py",
    "tests/net/test_pruning.py",
    "tests/net/test_series.py",
    "tests/net/test_testnet.py",
    "tests/powerloss/test_failing_disks.py",
    "tests/unit/bench/scale/test_processes.py",
    "tests/unit/bench/test_command.py",
    "tests/unit/testnet/test_ports.py",
}
"""Their tests run one after the other, all in one worker."""

DEAR_TO_PREPARE = {
    "tests/benchmarks/test_work.py",
    "tests/net/interop/test_js_libp2p.py",
    "tests/replay/test_two_pythons.py",
    "tests/sim/test_campaign.py",
    "tests/unit/api/test_every_api_code.py",
    "tests/unit/api/test_every_code.py",
    "tests/unit/simulator/test_judge.py",
}
"""What the tests of one of these share takes longer than they do: they stay together, in any worker."""


def unit_of(test: str) -> str:
    """What a test, by its pytest id, is dealt out with: tests of one unit run one after the other."""
    path = test.partition("::")[0]
    if path in LEDGERS_OF_PROCESSES:
        return "ledgers of processes"
    return path if path in DEAR_TO_PREPARE else test


class Workers(LoadScopeScheduling):
    """Gives the next unit to the worker that has nothing left to do, units of many tests first.

    Groups by mark (`--dist loadgroup`) would say the same in the files themselves, but xdist 3.8 writes the
    mark into what pytest 9.2 no longer reads, and deals such tests out one by one.
    """

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
