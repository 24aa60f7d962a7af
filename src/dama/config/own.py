"""Settings of the project's own: `[settings]` of its file, in a model of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from dama.config.config import ConfigError, load_config

if TYPE_CHECKING:
    from pathlib import Path

M = TypeVar("M")


def settings(model: type[M], *, project: Path | None = None) -> M:
    """Read `[settings]` of `dama.toml`, of the chosen profile, in a type.

    `${NAME}` in it is a variable of the environment. Called at the top of a module, a setting that
    does not fit is said when the module is imported, not in the middle of a run.

    Args:
        model: A model of pydantic, or a dataclass.
        project: Where the search for the file begins, instead of the current folder.

    Raises:
        ConfigError: With everything that does not fit.
    """
    from pydantic import TypeAdapter, ValidationError

    config = load_config(cwd=project)
    adapter: TypeAdapter[Any] = TypeAdapter(model)
    try:
        return adapter.validate_python(dict(config.settings))
    except ValidationError as error:
        lines = "".join(
            f"\n  {'.'.join(map(str, found['loc'])) or 'it'}: {found['msg']}"
            for found in error.errors(include_url=False, include_input=False)
        )
        where = f"[settings] of {config.source}" if config.source else "There is no dama.toml:"
        raise ConfigError(
            f"{where} does not fit {getattr(model, '__name__', model)}:{lines}",
            "Correct it there, or in the profile that is chosen.",
        ) from None
