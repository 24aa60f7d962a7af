"""Summary: the result of a load, computed from the joined departures before they are published."""

from collections import defaultdict
from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import class_row

from examples.flights.staging import enter, statement


@dataclass(frozen=True)
class Delays:
    """How late the departures of one group are.

    Attributes:
        name: The carrier, the airport, the month (1 to 12) or "all".
        departures: All that were scheduled.
        cancelled: Those that never left.
        mean_dep_delay: In minutes, of those that left; negative is early.
        mean_arr_delay: In minutes, of those that arrived.
    """

    name: str
    departures: int
    cancelled: int
    mean_dep_delay: float | None
    mean_arr_delay: float | None


@dataclass(frozen=True)
class Route:
    """A way from one airport to another.

    Attributes:
        origin: Where it starts.
        dest: Where it ends.
        arrivals: How many flights took it to the end.
        mean_arr_delay: In minutes.
    """

    origin: str
    dest: str
    arrivals: int
    mean_arr_delay: float


@dataclass(frozen=True)
class LoadSummary:
    """What was loaded, and how late it was.

    Attributes:
        total: All departures.
        by_carrier: In the order of the carriers' codes.
        by_airport: In the order of the airports' codes.
        by_month: January first.
        worst_route: The latest on average, of the routes with at least 100 arrivals.
        with_weather: Departures whose weather is known.
        with_plane: Departures whose plane is known.
    """

    total: Delays
    by_carrier: list[Delays]
    by_airport: list[Delays]
    by_month: list[Delays]
    worst_route: Route | None
    with_weather: int
    with_plane: int


def summarize(conn: Connection, schema: str) -> LoadSummary:
    """Compute the summary of the departures in a schema."""
    enter(conn, schema)
    groups: defaultdict[str, list[Delays]] = defaultdict(list)
    for grouping, *delays in conn.execute(statement("measure_delays")):
        groups[grouping].append(Delays(*delays))
    with conn.cursor(row_factory=class_row(Route)) as cursor:
        worst_route = cursor.execute(statement("find_worst_route")).fetchone()
    with_weather, with_plane = conn.execute(statement("count_matches")).fetchone() or (0, 0)
    return LoadSummary(
        total=groups["all"][0],
        by_carrier=groups["carrier"],
        by_airport=groups["airport"],
        by_month=groups["month"],
        worst_route=worst_route,
        with_weather=with_weather,
        with_plane=with_plane,
    )
