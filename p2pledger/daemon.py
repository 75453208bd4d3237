"""One node as a process: opened, run until a signal, closed in order. Floor 8."""

import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import structlog
import trio

from p2pledger import __version__, allocator
from p2pledger.api.routes import ROUTES
from p2pledger.api.server import serve, serve_admin
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.schema import SCHEMAS
from p2pledger.consensus.causes import Cause
from p2pledger.crypto import KeySigner
from p2pledger.errors import Code, Fatal, InvalidMessage
from p2pledger.ledger.machine import Machine
from p2pledger.ledger.modules import RULES
from p2pledger.ledger.modules.records import PUBLISHED
from p2pledger.metrics import Metrics
from p2pledger.node.account import LoopAccount
from p2pledger.node.collector import collecting_seldom
from p2pledger.node.config import Configuration, ConfigurationError, Role, load_configuration
from p2pledger.node.genesis_file import load_genesis
from p2pledger.node.logs import set_up_logs
from p2pledger.node.node import Node
from p2pledger.node.recovery import stored_lists
from p2pledger.node.trail import Tracer
from p2pledger.signer.guardfile import GuardFile, GuardMissing
from p2pledger.signer.keyfile import KeyFileRefused, SecretRole, load_key_file
from p2pledger.signer.local import LocalSigner
from p2pledger.storage.snapshot import Snapshots
from p2pledger.storage.sqlite import SqliteStore

_log = structlog.get_logger("p2pledger.daemon")


class TracingMissing(Exception):
    """Traces are to be sent, and the packages for it are not installed."""


def run(path: Path) -> int:
    """Run the node that a configuration file describes; returns its exit code.

    0 after SIGTERM or SIGINT, 1 after a fault that is logged, 2 when it could not be started.
    """
    try:
        configuration = load_configuration(path)
        genesis = load_genesis(configuration.node.genesis)
    except (ConfigurationError, InvalidMessage, OSError, ValueError) as error:
        print(f"p2pledger: cannot start:\n{error}")
        return 2
    metrics = _metrics(configuration, genesis)
    set_up_logs(configuration.log, metrics)
    try:
        with ExitStack() as stack:
            node = _open(configuration, genesis, metrics, stack)
            stack.enter_context(collecting_seldom())
            instruments = [LoopAccount(metrics)] if configuration.metrics.by_task else []
            trio.run(_run, node, configuration, metrics, instruments=instruments)
    except (KeyFileRefused, TracingMissing, OSError) as error:
        _log.error("cannot_start", why=str(error))
        return 2
    except Fatal as error:
        _log.critical("fatal", why=str(error), code=error.code)
        return 1
    except BaseExceptionGroup as group:
        foreseen, others = group.split((Fatal, OSError))
        if foreseen is None or others is not None:
            if not isinstance(group, ExceptionGroup):
                raise
            _log.critical("crashed", exc_info=group)
            return 1
        leaves = _leaves(foreseen)
        why = "; ".join(str(error) for error in leaves)
        if fatal := next((error for error in leaves if isinstance(error, Fatal)), None):
            _log.critical("fatal", why=why, code=fatal.code)
            return 1
        _log.error("cannot_go_on", why=why)
        return 2
    _log.info("stopped")
    return 0


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves


def _metrics(configuration: Configuration, genesis: Genesis) -> Metrics:
    members = (*genesis.authorities.members, *genesis.next_authorities.members)
    return Metrics(
        version=__version__,
        chain_id=genesis.chain_id,
        node=configuration.node.called,
        allocator=allocator.current(),
        authorities=sorted({member.organisation for member in members}),
        kinds=sorted(RULES),
        codes=sorted(Code),
        schemas=[*sorted(SCHEMAS), PUBLISHED],
        routes=ROUTES,
        causes=sorted(Cause),
    )


def _open(configuration: Configuration, genesis: Genesis, metrics: Metrics, stack: ExitStack) -> Node:
    """Open keys, guard and store; whatever was opened is closed by `stack`."""
    passphrase = configuration.keys.passphrase
    identity = load_key_file(configuration.keys.identity, SecretRole.IDENTITY, passphrase)
    machine = Machine(genesis)
    configuration.node.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = SqliteStore(configuration.node.data_dir, genesis, machine.start())
    stack.callback(store.close)
    key, signer = None, None
    if configuration.node.role is Role.AUTHORITY:
        assert configuration.keys.consensus is not None, "the configuration was checked"
        key = KeySigner(load_key_file(configuration.keys.consensus, SecretRole.CONSENSUS, passphrase).secret)
        signer = _open_signer(configuration, genesis, key, store)
    if signer is not None:
        stack.callback(signer.close)
    public_key = key.public_key if key is not None else None
    tracer = _open_tracer(configuration, genesis, stack)
    return Node(configuration, genesis, store, machine, public_key, signer, identity.secret, metrics, tracer)


def _open_tracer(configuration: Configuration, genesis: Genesis, stack: ExitStack) -> Tracer | None:
    """What sends spans, where the configuration names a collector. Raises: TracingMissing."""
    traces = configuration.traces
    if not traces.endpoint:
        return None
    try:  # nobody else pays for the import, or needs the packages
        from p2pledger.node.tracing import SpanTracer
    except ImportError as error:
        raise TracingMissing(
            f"traces.endpoint: {error}; install with `pip install p2pledger[traces]`, build the image with"
            " `docker build --build-arg EXTRAS=traces`, or leave it empty"
        ) from None
    name = configuration.node.called
    tracer = SpanTracer(
        traces.endpoint, traces.one_in, version=__version__, chain_id=genesis.chain_id, node=name
    )
    stack.callback(tracer.close)
    return tracer


def _open_signer(
    configuration: Configuration, genesis: Genesis, key: KeySigner, store: SqliteStore
) -> LocalSigner | None:
    """The signer over its guard; None when the guard is missing."""
    guard_dir = configuration.node.guard_dir
    assert guard_dir is not None, "the configuration was checked"
    try:
        guard = GuardFile(guard_dir, key.public_key, genesis.hash)
    except GuardMissing as error:
        _log.error("guard_missing", why=str(error), cure="it follows only; replace the key by governance")
        return None
    return LocalSigner(key, guard, genesis.hash, stored_lists(genesis, store))


async def _run(node: Node, configuration: Configuration, metrics: Metrics) -> None:
    """Run until a signal, then stop in order: no longer ready, no longer served, handed on, closed.

    A second signal cuts this short: the node is closed at once.
    """
    api, exporter = configuration.api, configuration.metrics
    shutdown = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            bind, metrics_bind = f"{api.host}:{api.port}", f"{exporter.host}:{exporter.port}"
            listen = partial(serve, node, bind, metrics_bind, metrics, shutdown=shutdown)
            async with trio.open_nursery() as serving:
                addresses = await serving.start(listen)
                admin = await _serve_admin(node, configuration, shutdown, serving)
                if configuration.node.clock_offset_ms:
                    _log.warning("clock_offset", wrong_by_ms=configuration.node.clock_offset_ms)
                api_at, metrics_at, peer = addresses.api, addresses.metrics, node.status().peer
                _log.info("started", api=api_at, metrics=metrics_at, admin=admin, peer=peer)
                await anext(signals)
                _log.info("stopping")
                node.begin_to_stop()
                nursery.start_soon(_cut_short, signals, nursery.cancel_scope)
                await trio.sleep(api.drain_ms / 1_000)
                shutdown.set()
            await node.hand_on()
            nursery.cancel_scope.cancel()


async def _serve_admin(
    node: Node, configuration: Configuration, shutdown: trio.Event, serving: trio.Nursery
) -> str:
    """Serve backups, where the configuration names a port; at which address, or nothing."""
    admin = configuration.admin
    if admin.port is None:
        return ""
    snapshots = Snapshots(configuration.node.data_dir, node.genesis, __version__)
    bind = f"{admin.host}:{admin.port}"
    listen = partial(serve_admin, snapshots, node.genesis, bind, shutdown=shutdown)
    address: str = await serving.start(listen)
    return address


async def _cut_short(signals: AsyncIterator[int], everything: trio.CancelScope) -> None:
    await anext(signals)
    everything.cancel()
