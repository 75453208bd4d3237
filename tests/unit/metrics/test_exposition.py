"""What a scrape is answered: what the client library would write, but for when a series was created."""

from p2pledger.metrics import Metrics
from p2pledger.metrics.exposition import Exposition
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
        if not sample.name.startswith(("process_", "python_")) and not sample.name.endswith("_created")
    }


def test_a_nodes_series_are_written_as_the_library_writes_them():
    metrics = Metrics(version="1", chain_id="x", node="n", authorities=["north"], kinds=["a.b"], routes=["/"])
    metrics.chain_height.set(7)
    metrics.p2p_bytes_total.at("inbound", "gossip").inc(1e9)
    metrics.finality_latency_seconds.observe(0.3)
    exposition = Exposition(metrics.registry)
    assert series(exposition.render()) == series(generate_latest(metrics.registry))
    metrics.consensus_equivocations_total.at("north").inc()
    metrics.name_authorities({"south"})
    again = exposition.render()
    assert series(again) == series(generate_latest(metrics.registry))
    assert b"_created" not in again and b"process_start_time_seconds" in again


def test_what_is_special_in_the_format_is_escaped():
    registry = CollectorRegistry()
    Gauge("odd", 'a "meaning"\nof two lines \\', ["name"], registry=registry).labels('x\\y"\nz').set(-0.5)
    Counter("many", "Many.", registry=registry).inc(float("inf"))
    Histogram("some", "Some.", buckets=(-1, 1), registry=registry).observe(float("nan"))
    text = Exposition(registry).render()
    assert series(text).keys() == series(generate_latest(registry)).keys()
    assert b'odd{name="x\\\\y\\"\\nz"} -0.5\n' in text and b"many_total +Inf\n" in text


def test_names_of_series_that_are_gone_are_not_kept_for_ever():
    registry = CollectorRegistry()
    guests = Gauge("guests", "Who comes and goes.", ["name"], registry=registry)
    exposition = Exposition(registry)
    for number in range(100):
        guests.labels(str(number)).set(1)
        exposition.render()
        guests.remove(str(number))
    assert len(exposition._names) < 10
