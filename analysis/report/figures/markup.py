"""A figure as SVG text that may stand in a page beside others."""

import hashlib
import io
import re
from collections.abc import Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from matplotlib.figure import Figure

from analysis.report.figures.style import styled

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", _XLINK)
_FAMILY = re.compile(r"font-family: ([^;]+); ")
_REFERENCE = re.compile(r"(?<=#)[\w-]+(?=\)|$)")
_DECIMALS = re.compile(r"-?\d+\.\d{3,}")
_LEAST_REM, _MOST = 34, 1.3
_GEOMETRY = ("d", "x", "y", "points", "transform", "width", "height")


def svg(figure: Figure, title: str) -> str:
    """A figure as an SVG element with a title for screen readers; the same figure gives the same text.

    Parameters
    ----------
    figure
        What to draw.
    title
        What the figure shows, in words: the image's accessible name.

    Returns
    -------
    str
        One `svg` element, which a page may hold beside others: its ids and its style are its own.
    """
    buffer = io.StringIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(buffer.getvalue())
    _own_style(root)
    _own_ids(root)
    root.attrib |= {"role": "img", "aria-label": title, "style": _widths(root.attrib["width"])}
    name = Element(f"{{{_SVG}}}title")
    name.text = title
    root.insert(0, name)
    return ElementTree.tostring(root, encoding="unicode")


def _widths(width: str) -> str:
    """The least and the most that a page may make of a width in points: text stays legible, and never shouts."""
    pixels = float(width.removesuffix("pt")) * 4 / 3
    return f"min-width: min({pixels:.0f}px, {_LEAST_REM}rem); max-width: {pixels * _MOST:.0f}px"


def _own_style(root: Element) -> None:
    """Put what holds for the whole figure on its root: a style sheet in it would hold for the whole page."""
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    root.attrib |= {"stroke-linejoin": "round", "stroke-linecap": "butt"}
    for text in root.iter(f"{{{_SVG}}}text"):
        family = _FAMILY.search(text.get("style", ""))
        if family:
            root.set("font-family", family[1])
            text.set("style", _FAMILY.sub("", text.get("style", "")))


def _own_ids(root: Element) -> None:
    """Keep the ids that something refers to, and name them after the figure's content."""
    used = {found[0] for e in root.iter() for v in e.attrib.values() if (found := _REFERENCE.search(v)) and "#" in v}
    ids = [e.attrib["id"] for e in root.iter() if e.get("id") in used]
    # Matplotlib's own ids, and the last digits of its layout, may differ from one process to the next.
    _rename(root, {old: str(k) for k, old in enumerate(ids)})
    _smaller(root)
    digest = hashlib.sha256(ElementTree.tostring(root)).hexdigest()[:8]
    _rename(root, {str(k): f"f{digest}-{k}" for k in range(len(ids))})


def _rename(root: Element, names: Mapping[str, str]) -> None:
    for element in root.iter():
        if element.get("id") not in names:
            element.attrib.pop("id", None)
        for key, value in element.attrib.items():
            if key in ("id", "clip-path", f"{{{_XLINK}}}href"):
                element.set(key, names.get(value) or _REFERENCE.sub(lambda found: names[found[0]], value))


def _smaller(element: Element) -> None:
    """Hundredths of a point, and no groups that say nothing."""
    for key in _GEOMETRY:
        if key in element.attrib:
            rounded = _DECIMALS.sub(lambda found: f"{float(found[0]):.2f}", element.attrib[key])
            element.set(key, " ".join(rounded.split()))
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    children: list[Element] = []
    for child in element:
        _smaller(child)
        plain = child.tag in (f"{{{_SVG}}}g", f"{{{_SVG}}}defs") and not child.attrib
        children.extend(child if plain and (len(child) == 0 or child.tag.endswith("}g")) else [child])
        child.tail = None
    if len(element):
        element.text = None
    element[:] = children
