"""The page under /docs: /openapi.json as plain HTML, without a script or a foreign asset. Floor 7."""

from html import escape
from typing import Any

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#8882;padding:.1em .3em;border-radius:.2em}h2{margin-top:2rem}"
    "td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}"
)


def reference_page(openapi: dict[str, Any]) -> str:
    """The page for an OpenAPI document. Pure."""
    info = openapi["info"]
    routes = "".join(
        _operation(path, method, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f"<style>{STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{escape(info.get('description', ''))} The same for machines: "
        f'<a href="openapi.json">openapi.json</a>.</p>{routes}</html>'
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{escape(parameter['in'])}</td>"
        f"<td>{escape(parameter.get('description', ''))}</td></tr>"
        for parameter in operation.get("parameters", ())
    )
    answers = ", ".join(f"<code>{escape(status)}</code>" for status in operation["responses"])
    described = "".join(f"<p>{escape(part)}</p>" for part in operation.get("description", "").split("\n\n"))
    return (
        f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>{described}"
        f"<table>{rows}</table><p>Answers: {answers}</p>"
    )
