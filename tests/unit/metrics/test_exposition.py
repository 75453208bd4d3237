"""What a scrape is answered: what the client library would write, but for when a series was created."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from p2pledger.metrics import Metrics
from p2pledger.metrics.exposition import Exposition
from p2pledger.metrics.labels import STATUSES, Labelled
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families


def series(text: bytes) -> dict[object, object]:
    """Samples by family, type, help, name and labels."""
    return {
        (family.name, family.type, family.documentation, sample.name, *sorted(sample.labels.items())): (
            str(sample.value)
        )
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if not sample.name.startswith(("process_", "python_"))
        and not sample.name.endswith("_created")
        and sample.labels.get("stage") != "scrape"  # grows while it is told
    }


def test_a_nodes_series_are_written_as_the_library_writes_them():
    metrics = Metrics(version="1", chain_id="x", node="n", authorities=["north"], kinds=["a.b"], routes=["/"])
    metrics.chain_height.set(7)
    metrics.p2p_bytes_total.at("inbound", "gossip").inc(1e9)
    metrics.finality_latency_seconds.observe(0.3)
    exposition = metrics.exposition()
    assert series(exposition.render()) == series(generate_latest(metrics.registry))
    metrics.chain_height.set(8)
    metrics.finality_latency_seconds.observe(40)
    metrics.p2p_bytes_total.at("outbound", "asks").inc()
    metrics.consensus_equivocations_total.at("north").inc()
    metrics.name_authorities({"south"})
    again = exposition.render()
    assert series(again) == series(generate_latest(metrics.registry))
    assert b"_created" not in again and b"process_start_time_seconds" in again


def test_what_is_special_in_the_format_is_escaped():
    registry = CollectorRegistry()
    odd = Labelled(Gauge("odd", 'a "meaning"\nof two lines \\', ["name"], registry=registry), ('x\\y"\nz',))
    odd.at('x\\y"\nz').set(-0.5)
    many = Counter("many", "Many.", registry=registry)
    many.inc(float("inf"))
    below_zero = Histogram("some", "Some.", buckets=(-1, 1), registry=registry)
    below_zero.observe(0.5)
    text = Exposition([odd, many, below_zero], []).render()
    assert series(text) == series(generate_latest(registry))
    assert b'odd{name="x\\\\y\\"\\nz"} -0.5\n' in text and b"many_total +Inf\n" in text
    assert b"some_count 1.0\n" in text and b"some_sum" not in text


def test_series_that_are_gone_are_not_kept_for_ever():
    guests = Labelled(Gauge("guests", "Who comes and goes.", ["name"], registry=None), ())
    exposition = Exposition([guests], [])
    for number in range(100):
        guests.rename([str(number)])
        guests.at(str(number)).set(number)
        text = exposition.render().decode()
        assert text.splitlines()[2:] == [f'guests{{name="{number}"}} {number}.0']
    assert len(exposition._families[0]._series) == 1


def test_what_is_counted_meanwhile_in_another_thread_is_no_trouble():
    metrics = Metrics(version="1", chain_id="x", node="n", routes=["/"])
    exposition, is_over = metrics.exposition(), Event()

    def count() -> None:
        while not is_over.is_set():
            for status in STATUSES:
                metrics.api_request_seconds.at("/", "POST", status).observe(1)
            metrics.name_authorities({"one"})
            metrics.name_authorities({"other"})

    with ThreadPoolExecutor(1) as threads:
        counting = threads.submit(count)
        texts = [exposition.render() for _ in range(200)]
        is_over.set()
        counting.result()
    assert all(list(text_string_to_metric_families(text.decode())) for text in texts[::20])
