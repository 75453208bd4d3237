"""The dashboards' files: shipped is what the code says, no two panels collide, and a fact is counted once."""

import re
from itertools import combinations

import pytest
from p2pledger.metrics import Metrics
from p2pledger.monitoring.dashboards import DASHBOARDS, files
from p2pledger.monitoring.dashboards.grafana import COLUMNS, to_json
from p2pledger.monitoring.dashboards.model import Dashboard, Kind, Panel, Row, Target, Unit
from p2pledger.monitoring.recording import recordings
from tests.dashboards.pages import FILES, ROOT, load, panels, queries, variables
from tests.dashboards.promql import GREATEST, NotExpanded, askable, expand, grouped_by, selectors
from tests.unit.monitoring.told import not_there

VALUES = {"chain": "testnet", "instance": ".+", "__rate_interval": "10s"}
FACTS = {
    "access_total",
    "chain_finalized_height",
    "chain_head_timestamp_seconds",
    "chain_conflicting_finality_total",
    "consensus_authorities",
    "consensus_authority_last_signed_height",
    "consensus_blocks_finalized_total",
    "consensus_equivocations_total",
    "consensus_evidence_recorded_total",
    "consensus_proposals_missed_total",
    "consent_erasures_open",
    "custody_discrepancies_open",
    "divergence_total",
    "governance_proposals_open",
    "programs_points_total",
    "records_total",
    "registry_gateways",
    "txs_finalized_total",
}
"""What every node tells of the chain: one fact, however many tell it."""

paths = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_what_is_shipped_is_what_the_code_says() -> None:
    shipped = {path.relative_to(ROOT / "deploy" / "monitoring").as_posix(): path for path in FILES}
    assert {name: path.read_text(encoding="utf-8") for name, path in shipped.items()} == files()
    assert len(shipped) == len(DASHBOARDS) == 5


@paths
def test_no_two_things_stand_in_one_place_or_have_one_number(path) -> None:
    placed = load(path)["panels"]
    assert [one["id"] for one in placed] == list(range(1, len(placed) + 1))
    cells = [set(_cells(one["gridPos"])) for one in placed]
    assert [pair for pair in combinations(range(len(cells)), 2) if cells[pair[0]] & cells[pair[1]]] == []
    assert all(0 <= x < COLUMNS for place in cells for x, _ in place)


def _cells(place: dict[str, int]) -> list[tuple[int, int]]:
    return [
        (x, y)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]


def test_a_panel_that_does_not_fit_begins_a_line_and_a_row_begins_below_all() -> None:
    def panel(kind: Kind) -> Panel:
        return Panel("figure", "A figure.", Unit.COUNT, (Target("up", "up"),), kind)

    rows = tuple(Row("row", tuple(map(panel, kinds))) for kinds in (7 * [Kind.STAT], 2 * [Kind.TIME_SERIES]))
    text = to_json(Dashboard("a", "a", "a", rows))
    places = [tuple(map(int, place)) for place in re.findall(r'"x": (\d+),\s+"y": (\d+)', text)]
    assert places == [
        (0, 0), *((x, 1) for x in range(0, 24, 4)), (0, 5),
        (0, 9), (0, 10), (8, 10),
    ]  # fmt: skip


@paths
def test_every_panel_says_what_it_shows_and_in_which_unit(path) -> None:
    shown = panels(load(path))
    titles = [panel["title"] for panel in shown]
    assert len(set(titles)) == len(titles)
    for panel in shown:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in set(Unit)
        names = [target["refId"] for target in panel["targets"]]
        assert names and len(set(names)) == len(names)
        assert all(target["legendFormat"] for target in panel["targets"])


@paths
def test_what_a_panel_tells_to_type_can_be_typed(path) -> None:
    assert [wrong for panel in panels(load(path)) for wrong in not_there(panel["description"])] == []


@paths
def test_a_provisioned_page_finds_its_data_source_by_itself(path) -> None:
    page = load(path)
    assert "__inputs" not in page and "datasource" in variables(page)
    assert {panel["datasource"]["uid"] for panel in panels(page)} == {"${datasource}"}


def test_pages_have_names_of_their_own() -> None:
    pages = [load(path) for path in FILES]
    assert [page["uid"] for page in pages] == [path.stem for path in FILES]
    assert len({page["title"] for page in pages}) == len(pages)


@paths
def test_every_query_parses_and_has_no_variable_but_the_pages_own(path) -> None:
    page = load(path)
    own = {name: VALUES[name] for name in (variables(page) - {"datasource"}) | {"__rate_interval"}}
    for panel in panels(page):
        for target in panel["targets"]:
            assert selectors(expand(target["expr"], own))


def test_every_query_is_of_the_chosen_chain() -> None:
    for query in queries():
        for selector in selectors(expand(query.expr, VALUES)):
            assert selector.labels.get("chain") == "testnet", query


def test_a_fact_of_the_chain_is_counted_once() -> None:
    """However many nodes tell it; where a page shows nodes side by side, it selects them."""
    for query in queries():
        for selector in selectors(expand(query.expr, VALUES)):
            if selector.series.removeprefix("p2pledger_") in FACTS and "instance" not in selector.labels:
                assert GREATEST & set(selector.above), query


def test_what_tells_series_apart_in_a_legend_is_what_they_are_grouped_by() -> None:
    for query in queries():
        for label in re.findall(r"{{(\w+)}}", query.legend):
            expr = expand(query.expr, VALUES)
            named = {each for labels, _ in grouped_by(expr) for each in labels}
            assert label in named or (label == "instance" and not named), query


def exported() -> dict[str, set[str]]:
    """The names of a node's samples by their family's name."""
    metrics = Metrics(
        version="", chain_id="", node="", authorities=["a"], schemas=["s"], routes=["/"], causes=["c"]
    )
    return {family.name: {sample.name for sample in family.samples} for family in metrics.registry.collect()}


def asked() -> set[str]:
    """Every series that a page asks for."""
    return {s.series for query in queries() for s in selectors(expand(query.expr, VALUES))}


def test_every_series_is_one_that_nodes_export() -> None:
    """Or one that a rule records. The campaign asks a real node; this tells at once."""
    recorded = {rule.record for rule in recordings()}
    of_prometheus = {"up", "ALERTS"}
    assert asked() - set().union(*exported().values()) - recorded == of_prometheus


def test_all_that_a_node_says_of_the_ledger_is_shown_somewhere() -> None:
    ours = {name: samples for name, samples in exported().items() if name.startswith("p2pledger_")}
    assert [name for name, samples in ours.items() if not samples & asked()] == []


def test_a_variable_that_is_not_there_is_found() -> None:
    with pytest.raises(NotExpanded):
        expand("up{chain=~'$cluster'}", VALUES)
    with pytest.raises(NotExpanded):
        expand("rate(up[$__interval])", VALUES)
    assert expand('up{a="${chain}"}[$__rate_interval]', VALUES) == 'up{a="testnet"}[10s]'


def test_what_cannot_be_parsed_is_found() -> None:
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        selectors("sum by (le (up)")


def test_a_rule_is_asked_for_what_it_compares() -> None:
    rule = "(max(a) - on (x) group_right () b > 50) and on (x) sum by (x) (c) >= 3 and d[5m] == 0"
    assert askable(rule.replace("d[5m]", "rate(d[5m])")) == [
        "max(a) - on (x) group_right () b",
        "sum by (x) (c)",
        "rate(d[5m])",
    ]
