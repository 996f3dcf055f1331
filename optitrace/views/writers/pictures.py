"""Pictures: PNG, SVG and PDF, which stand still, and a GIF and a web page, which are drawn step by step."""

from __future__ import annotations

from collections.abc import Iterator

from optitrace.views.display import Display
from optitrace.views.formats import HasMovingPicture, HasPicture, Writer


def write_png(result: HasPicture, display: Display) -> Iterator[bytes]:
    """Yield the picture of a result as PNG."""
    yield _still(result, display, "png")


def write_svg(result: HasPicture, display: Display) -> Iterator[str]:
    """Yield the picture of a result as SVG."""
    yield _still(result, display, "svg").decode()


def write_pdf(result: HasPicture, display: Display) -> Iterator[bytes]:
    """Yield the picture of a result as PDF."""
    yield _still(result, display, "pdf")


def write_gif(result: HasMovingPicture, display: Display) -> Iterator[bytes]:
    """Yield the picture of a result as GIF, drawn step by step."""
    picture = result.picture(display)
    from optitrace.views.pictures.image_files import moving

    yield moving(picture)


def write_player(result: HasMovingPicture, display: Display) -> Iterator[str]:
    """Yield the picture of a result as a web page that plays it step by step."""
    picture = result.picture(display)
    from optitrace.views.pictures.player import player

    yield player(picture)


def _still(result: HasPicture, display: Display, format: str) -> bytes:
    picture = result.picture(display)
    from optitrace.views.pictures.image_files import still

    return still(picture.scene, format)


WRITERS = (
    Writer("png", ".png", HasPicture, write_png, is_binary=True, needs="matplotlib"),
    Writer("svg", ".svg", HasPicture, write_svg, needs="matplotlib"),
    Writer("pdf", ".pdf", HasPicture, write_pdf, is_binary=True, needs="matplotlib"),
    Writer("gif", ".gif", HasMovingPicture, write_gif, is_binary=True, needs="matplotlib"),
    Writer("html", ".html", HasMovingPicture, write_player, needs="matplotlib"),
)
