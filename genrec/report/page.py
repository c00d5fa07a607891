"""From figures to one HTML file that needs nothing else."""

import base64
import functools
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from genrec.report.provenance import duration
from genrec.storage.files import replacing

_FILES = Path(__file__).parent / "templates"


def write_page(out: Path, template: str, figures: dict[str, Any]) -> int:
    """Writes a page to a file, whole or not at all; returns its size in bytes."""
    page = render(template, **figures).encode()
    with replacing(out) as temporary:
        temporary.write_bytes(page)
    return len(page)


def render(template: str, **figures: Any) -> str:
    """A page: style and script stand in it, and it may load and send nothing.

    All text is escaped, and so is what is embedded for the script: titles and names come from
    outside. The page's own policy allows the one script whose hash it names, and no connection.
    """
    script = (_FILES / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment().get_template(template)
    return page.render(
        style=Markup((_FILES / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        **figures,
    )


@functools.cache
def environment() -> jinja2.Environment:
    """The templates, which escape all text."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FILES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["duration"] = duration
    templates.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    return templates
