"""The OpenAPI document as a plain page: no script, nothing from another host. Knows only the document."""

from __future__ import annotations

import json
from html import escape
from typing import Any

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} API</title>
<link rel="stylesheet" href="/page/style.css">
<link rel="icon" href="data:,">
</head>
<body>
<header class="bar"><a class="brand" href="/">segx</a><nav><a href="/openapi.json">openapi.json</a></nav></header>
<main class="docs">
<h1>{title} API <small>{version}</small></h1>
<p>{description}</p>
<h2>Try it</h2>
<pre><code>curl --data-binary @picture.jpg -H 'Content-Type: image/jpeg' http://HOST:PORT/segment -o classes.png
curl --data-binary @picture.jpg -H 'Content-Type: image/jpeg' -H 'Accept: application/json' http://HOST:PORT/segment
curl -F image=@picture.jpg -H 'Accept: image/png;overlay=1' http://HOST:PORT/segment -o overlay.png</code></pre>
<h2>Routes</h2>
{routes}
<h2>Shapes</h2>
{schemas}
</main>
</body>
</html>
"""


def render(document: dict[str, Any]) -> str:
    """The whole page."""
    routes = "\n".join(
        _route(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    schemas = "\n".join(
        f'<details id="{escape(name)}"><summary>{escape(name)}</summary>'
        f"<pre><code>{escape(json.dumps(schema, indent=2))}</code></pre></details>"
        for name, schema in document["components"]["schemas"].items()
    )
    info = document["info"]
    return _PAGE.format(
        title=escape(info["title"]),
        version=escape(info["version"]),
        description=escape(info["description"]),
        routes=routes,
        schemas=schemas,
    )


def _route(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [
        f"<section><h3><span class='method {method}'>{method.upper()}</span> <code>{escape(path)}</code></h3>",
        f"<p>{escape(operation['summary'])}.</p>",
    ]
    if "description" in operation:
        parts.append(f"<p>{_marked(operation['description'])}</p>")
    if operation["parameters"]:
        rows = "".join(
            f"<tr><td><code>{escape(one['name'])}</code></td><td>{one['in']}</td>"
            f"<td>{escape(one.get('description', ''))}{_choices(one['schema'])}</td></tr>"
            for one in operation["parameters"]
        )
        parts.append(_table(("Parameter", "In", "Meaning"), rows))
    if "requestBody" in operation:
        body = operation["requestBody"]
        types = ", ".join(f"<code>{escape(name)}</code>" for name in body["content"])
        parts.append(f"<p>Body: {types}. {escape(body['description'])}</p>")
    rows = "".join(
        f"<tr><td>{status}</td><td>{escape(answer['description'])}</td><td>{_contents(answer)}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    parts.append(_table(("Status", "Meaning", "Body"), rows) + "</section>")
    return "\n".join(parts)


def _table(heads: tuple[str, ...], rows: str) -> str:
    head = "".join(f"<th scope='col'>{name}</th>" for name in heads)
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"


def _choices(schema: dict[str, Any]) -> str:
    names = ", ".join(f"<code>{escape(str(value))}</code>" for value in schema.get("enum", ()))
    return f" One of: {names}." if names else ""


def _contents(answer: dict[str, Any]) -> str:
    def one(media_type: str, content: dict[str, Any]) -> str:
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        link = f" <a href='#{escape(name)}'>{escape(name)}</a>" if name else ""
        return f"<code>{escape(media_type)}</code>{link}"

    return "<br>".join(one(media_type, content) for media_type, content in answer["content"].items())


def _marked(text: str) -> str:
    """Plain text whose `quoted` words are code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))
