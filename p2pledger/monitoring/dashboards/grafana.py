"""Dashboards as the JSON that Grafana provisions, one file each. Pure: same dashboards, same bytes.

Panels are numbered from 1 in reading order, and stand side by side until a line of 24 columns is full. There
are no `__inputs`: the data source is a variable of the page, which a provisioned dashboard can resolve.
"""

import json
from typing import Any

from p2pledger.monitoring.dashboards.model import Dashboard, Kind, Panel, Row, Target

SCHEMA_VERSION = 39
TAG = "p2pledger"
COLUMNS = 24
ROW_HEIGHT = 1
SIZES = {Kind.STAT: (4, 4), Kind.TIME_SERIES: (8, 8), Kind.BARS: (8, 8)}
"""Width and height of each kind of panel, in units of the grid."""

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]


def to_json(dashboard: Dashboard) -> str:
    """The text of a dashboard's file."""
    document = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "timezone": "browser",
        "links": [_link()],
        "templating": {"list": _variables()},
        "panels": _panels(dashboard.rows),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _panels(rows: tuple[Row, ...]) -> list[Json]:
    """Rows and panels with their ids and places."""
    placed: list[Json] = []
    y = 0
    for row in rows:
        head = {"type": "row", "title": row.title, "collapsed": False, "panels": []}
        placed.append({"id": len(placed) + 1, **head, "gridPos": _place(0, y, COLUMNS, ROW_HEIGHT)})
        y += ROW_HEIGHT
        x = line = 0
        for panel in row.panels:
            width, height = SIZES[panel.kind]
            if x + width > COLUMNS:
                x, y, line = 0, y + line, 0
            placed.append({"id": len(placed) + 1, **_panel(panel), "gridPos": _place(x, y, width, height)})
            x, line = x + width, max(line, height)
        y += line
    return placed


def _place(x: int, y: int, width: int, height: int) -> Json:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel) -> Json:
    is_over_time = panel.kind is Kind.TIME_SERIES
    steps: list[Json] = [{"color": panel.below.value, "value": None}]
    steps += [{"color": step.colour.value, "value": step.value} for step in panel.thresholds]
    defaults: Json = {
        "unit": panel.unit.value,
        "color": {"mode": "palette-classic" if is_over_time else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.minimum is not None:
        defaults["min"] = panel.minimum
    if panel.maximum is not None:
        defaults["max"] = panel.maximum
    if is_over_time:
        defaults["custom"] = _drawing(panel)
    return {
        "type": panel.kind.value,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATA_SOURCE,
        "targets": [_target(target, index, panel.kind) for index, target in enumerate(panel.targets)],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": OPTIONS[panel.kind],
    }


def _target(target: Target, index: int, kind: Kind) -> Json:
    is_over_time = kind is not Kind.BARS
    return {
        "refId": chr(ord("A") + index),
        "expr": target.expr,
        "legendFormat": target.legend,
        "editorMode": "code",
        "range": is_over_time,
        "instant": not is_over_time,
    }


def _drawing(panel: Panel) -> Json:
    """How a time series is drawn: parts of a whole as areas, lines at thresholds if there are any."""
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if panel.is_stacked else 0,
        "showPoints": "never",
        "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if panel.thresholds else "off"},
    }


_LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}

OPTIONS: dict[Kind, Json] = {
    Kind.TIME_SERIES: {
        "legend": {
            "displayMode": "list",
            "placement": "bottom",
            "showLegend": True,
            "calcs": ["lastNotNull"],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    Kind.STAT: {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": _LAST,
        "showPercentChange": False,
        "textMode": "auto",
        "wideLayout": True,
    },
    Kind.BARS: {
        "displayMode": "basic",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
        "maxVizHeight": 300,
        "minVizHeight": 16,
        "minVizWidth": 8,
        "namePlacement": "left",
        "orientation": "horizontal",
        "reduceOptions": _LAST,
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "color",
    },
}
"""What each kind of panel is told beside its figures."""


def _link() -> Json:
    """From each page to all others, with what is chosen and the time shown."""
    return {
        "type": "dashboards",
        "title": TAG,
        "tags": [TAG],
        "asDropdown": True,
        "icon": "dashboard",
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "tooltip": "",
        "url": "",
    }


def _variables() -> list[Json]:
    """What can be chosen at the head of each page."""
    return [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "hide": 0,
        },
        {
            "name": "chain",
            "label": "Chain",
            **_label_values("p2pledger_chain_finalized_height", "chain"),
            "multi": False,
            "includeAll": False,
        },
        {
            "name": "instance",
            "label": "Nodes",
            **_label_values('p2pledger_chain_finalized_height{chain="$chain"}', "instance"),
            "multi": True,
            "includeAll": True,
            "allValue": ".+",
            "current": {"text": ["All"], "value": ["$__all"]},
        },
    ]


def _label_values(selector: str, label: str) -> Json:
    """A variable that is asked for anew with each time range: nodes come and go."""
    return {
        "type": "query",
        "datasource": DATA_SOURCE,
        "query": {"query": f"label_values({selector}, {label})", "refId": label},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
    }
