"""The page that explains the interface to people, from its OpenAPI description. It loads nothing from elsewhere."""

from collections.abc import Iterator, Mapping
from typing import Any

import jinja2

TEMPLATE = jinja2.Environment(autoescape=True).from_string("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{{ title }}</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
h2 { font: bold 1rem monospace; margin: 2rem 0 0; }
td { vertical-align: top; padding-right: 1rem; }
</style>
<h1>{{ title }} {{ version }}</h1>
<p>Keys go into the header <code>Authorization: Bearer KEY</code>. What is refused is told in one sentence,
<code>{"detail": ...}</code>. <a href="openapi.json">openapi.json</a> is the same for programs.</p>
{% for route in routes %}
<h2>{{ route.method }} {{ route.path }}</h2>
<p>{{ route.description }}</p>
{% if route.fields %}<table>
{% for field in route.fields %}<tr><td><code>{{ field.name }}</code>{% if field.required %} (needed){% endif %}</td>
<td>{{ field.description }}</td></tr>
{% endfor %}</table>{% endif %}
{% endfor %}
</html>
""")


def page(schema: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI description."""
    info = schema["info"]
    return TEMPLATE.render(
        title=info["title"], version=info["version"], routes=list(_routes(schema))
    )


def _routes(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each route with its method and what its form has."""
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            yield {
                "method": method.upper(),
                "path": path,
                "description": route.get("description", ""),
                "fields": list(_fields(schema, route)),
            }


def _fields(schema: Mapping[str, Any], route: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The fields of a route's form."""
    content = route.get("requestBody", {}).get("content", {})
    for body in content.values():
        form = body["schema"]
        name = form.get("$ref", "").rpartition("/")[2]
        form = schema["components"]["schemas"].get(name, form)
        for field, told in form.get("properties", {}).items():
            required = field in form.get("required", ())
            text = told.get("description", "")
            yield {"name": field, "description": text, "required": required}
