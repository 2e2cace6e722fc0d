"""The OpenAPI document as a plain page: no script, nothing from another host. Knows only the document."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from segx_serve.openapi.parts import Node

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
{keys}<h2>Try it</h2>
<pre><code>curl --data-binary @picture.jpg -H 'Content-Type: image/jpeg' http://HOST:PORT/segment -o classes.png
curl --data-binary @picture.jpg -H 'Content-Type: image/jpeg' -H 'Accept: application/json' http://HOST:PORT/segment
curl -F image=@picture.jpg -H 'Accept: image/png;overlay=1' http://HOST:PORT/segment -o overlay.png
curl -F image=@a.jpg -F image=@b.jpg -H 'Accept: application/zip' http://HOST:PORT/segment -o classes.zip</code></pre>
{routes}
<h2>In every request and answer</h2>
{common}
<h2>Shapes</h2>
{schemas}
</main>
</body>
</html>
"""


def render(document: Node) -> str:
    """The whole page."""
    components = document["components"]
    schemas = "\n".join(
        f'<details id="{escape(name)}"><summary>{escape(name)}</summary>'
        f"<pre><code>{escape(json.dumps(schema, indent=2))}</code></pre></details>"
        for name, schema in components["schemas"].items()
    )
    info = document["info"]
    return _PAGE.format(
        title=escape(info["title"]),
        version=escape(info["version"]),
        description=escape(info["description"]),
        keys=_keys(components.get("securitySchemes", {})),
        routes="\n".join(_group(document, tag) for tag in document["tags"]),
        common=_parameters(list(components["parameters"].values())),
        schemas=schemas,
    )


def _keys(schemes: Node) -> str:
    """How a key is shown, where one is needed."""
    if not schemes:
        return ""
    about = escape(next(iter(schemes.values()))["description"])
    return (
        "<p>This service needs a key: <code>Authorization: Bearer KEY</code> or <code>X-Api-Key: KEY</code>. "
        f"{about}</p>\n"
    )


def _group(document: Node, tag: Node) -> str:
    """One tag's operations, each folded to a line."""
    operations = "\n".join(
        _operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if operation["tags"] == [tag["name"]]
    )
    return f"<h2>{escape(tag['name'])}</h2>\n<p>{escape(tag['description'])}</p>\n{operations}"


def _operation(path: str, method: str, operation: Node) -> str:
    parts = [
        f"<details class='route' id='{escape(operation['operationId'])}'><summary><span class='method {method}'>"
        f"{method.upper()}</span> <code>{escape(path)}</code> <span>{escape(operation['summary'])}</span></summary>"
    ]
    if "description" in operation:
        parts.append(f"<p>{_marked(operation['description'])}</p>")
    if operation.get("security") == []:
        parts.append("<p>Needs no key.</p>")
    own = [one for one in operation["parameters"] if "$ref" not in one]
    if own:
        parts.append(_parameters(own))
    if "requestBody" in operation:
        body = operation["requestBody"]
        types = ", ".join(_content(*pair) for pair in body["content"].items())
        parts.append(f"<p>Body: {types}. {escape(body['description'])}</p>")
    rows = "".join(
        f"<tr><td>{status}</td><td>{escape(answer['description'])}</td><td>{_contents(answer)}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    parts.append(_table(("Status", "Meaning", "Body and headers"), rows) + "</details>")
    return "\n".join(parts)


def _parameters(parameters: list[Node]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(one['name'])}</code></td>"
        f"<td>{one['in']}{', required' if one.get('required') else ''}</td>"
        f"<td>{escape(one['description'])}{_choices(one['schema'])}</td></tr>"
        for one in parameters
    )
    return _table(("Parameter", "In", "Meaning"), rows)


def _table(heads: tuple[str, ...], rows: str) -> str:
    head = "".join(f"<th scope='col'>{name}</th>" for name in heads)
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"


def _choices(schema: Node) -> str:
    names = ", ".join(f"<code>{escape(str(value))}</code>" for value in schema.get("enum", ()))
    return f" One of: {names}." if names else ""


def _contents(answer: Node) -> str:
    """An answer's media types, and its own headers with what they mean behind them."""
    types = [_content(*pair) for pair in answer["content"].items()]
    headers = [
        f"<code>{escape(name)}</code>: {escape(header['description'])}"
        for name, header in answer["headers"].items()
        if "$ref" not in header
    ]
    return "<br>".join(types + headers)


def _content(media_type: str, content: Node) -> str:
    """A media type, with links to the shapes it may have."""
    names = [one["$ref"].rpartition("/")[2] for one in _refs(content["schema"])]
    links = " or ".join(f"<a href='#{escape(name)}'>{escape(name)}</a>" for name in names)
    return f"<code>{escape(media_type)}</code> {links}".strip()


def _refs(schema: Node) -> list[Any]:
    """The schemas by name that a schema is, is one of, or is a list of."""
    return [one for one in (schema, schema.get("items", {}), *schema.get("anyOf", ())) if "$ref" in one]


def _marked(text: str) -> str:
    """Plain text whose `quoted` words are code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))
