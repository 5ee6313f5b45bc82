"""One HTML file with everything in it: text, tables and figures, to be mailed or kept beside the data."""

from __future__ import annotations

import base64
import io
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, cast

from cosim import __version__
from cosim.files import write_atomic
from cosim.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Mark = Literal["", "good", "bad", "note"]


@dataclass(frozen=True)
class _Block:
    kind: Literal["text", "code", "table", "figure"]
    text: str = ""
    mark: Mark = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    data: str = ""
    caption: str = ""


@dataclass
class _Section:
    heading: str
    parts: list[_Block] = field(default_factory=list)


class Report:
    """Built section by section, written once."""

    def __init__(self, title: str, summary: str = "") -> None:
        self.title = title
        self.summary = summary
        self.footer = ""
        self._sections: list[_Section] = []

    def section(self, heading: str) -> Self:
        """Begin a section."""
        self._sections.append(_Section(heading))
        return self

    def _add(self, part: _Block) -> Self:
        if not self._sections:
            self.section("Result")
        self._sections[-1].parts.append(part)
        return self

    def text(self, text: str, *, mark: Mark = "") -> Self:
        """A paragraph."""
        return self._add(_Block("text", text=text, mark=mark))

    def code(self, text: str) -> Self:
        """Text as it stands, line by line."""
        return self._add(_Block("code", text=text))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Self:
        """A table."""
        return self._add(
            _Block("table", columns=tuple(columns), rows=tuple(tuple(str(c) for c in row) for row in rows))
        )

    def figure(self, drawn: Axes | Figure, caption: str) -> Self:
        """A figure, embedded as PNG, with its caption as alternative text."""
        figure = cast("Figure", getattr(drawn, "figure", None) or drawn)
        buffer = io.BytesIO()
        with style.styled():
            style.mark_lone_points(figure)
        figure.savefig(buffer, format="png", dpi=130)
        return self._add(_Block("figure", data=base64.b64encode(buffer.getvalue()).decode(), caption=caption))

    def render(self) -> str:
        """The page's text."""
        import jinja2

        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("cosim.report", "."),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        footer = f"cosim {__version__}, Python {platform.python_version()}, {made}. {self.footer}".strip()
        return environment.get_template("page.html.jinja").render(
            title=self.title, summary=self.summary, sections=self._sections, footer=footer
        )

    def write(self, path: str | Path) -> Path:
        """Write the page, replacing it atomically."""
        return write_atomic(path, self.render())
