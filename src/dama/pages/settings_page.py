"""Settings: how this browser shows the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote
from zoneinfo import available_timezones

from dama.gateway.errors import RequestError
from dama.pages.look import DENSITIES, KEPT_SECONDS, SWITCHES, THEMES, is_zone, read_look
from dama.pages.views import LONGEST_NAME, filters, read_views
from dama.pages.visit import see

if TYPE_CHECKING:
    from starlette.responses import Response

    from dama.pages.visit import Visit


async def show(visit: Visit) -> Response:
    """The choices."""
    return visit.page(
        "settings.html",
        themes=THEMES,
        densities=DENSITIES,
        switches=SWITCHES,
        zones=sorted(available_timezones()),
        views=read_views(visit.request.cookies),
        view=filters(visit.query.get("view", "")),
        longest_name=LONGEST_NAME,
    )


async def keep(visit: Visit) -> Response:
    """Keep them in this browser.

    Raises:
        RequestError: There is no such time zone.
    """
    zone = visit.form.get("zone", "UTC")
    if not is_zone(zone):
        raise RequestError(
            "BAD_REQUEST", f"There is no time zone {zone[:40]!r}.", "Write Europe/Berlin or UTC."
        )
    look = read_look(visit.form)
    response = see("/settings")
    for name, value in vars(look).items():
        response.set_cookie(
            f"dama_{name}", quote(value, safe=""), max_age=KEPT_SECONDS, samesite="lax"
        )
    return response
