"""What to draft from: says by its name and its content what a source is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dama.drafts.crontab import draft_crontab
from dama.drafts.draft import task_name
from dama.drafts.folder import draft_folder, draft_script
from dama.drafts.makefile import draft_makefile
from dama.drafts.package_json import draft_package
from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from pathlib import Path

    from dama.drafts.draft import Drafts

_MAKEFILE = re.compile(r"(GNU)?[Mm]akefile([.-].*)?|.*\.mk")


def draft_source(source: Path, base: Path, service: str | None = None) -> Drafts:
    """Draft the programs of a source. It is read; nothing of it is run.

    Args:
        source: A script, a folder of them, a Makefile, a package.json or a crontab.
        base: The folder of the settings file.
        service: The name of their service; by default that of the folder, `cron` for a crontab.

    Raises:
        InvalidDefinitionError: It is none of these, or cannot be read.
    """
    if not source.exists():
        raise InvalidDefinitionError(
            f"There is no {source}.",
            "Wanted a script, a folder of them, a Makefile, a package.json or a crontab.",
        )
    folder = source.absolute() if source.is_dir() else source.absolute().parent
    name = service or task_name(folder.name)
    try:
        if source.is_dir():
            return draft_folder(source, name, base)
        if source.name == "package.json":
            return draft_package(source, name, base)
        if _MAKEFILE.fullmatch(source.name):
            return draft_makefile(source, name, base)
        # Not of a pipe, as <(crontab -l) is: it can be read once only.
        if source.is_file() and (drafts := draft_script(source, name, base)):
            return drafts
        return draft_crontab(str(source), read_text(source.read_bytes()), service or "cron")
    except OSError as error:
        raise InvalidDefinitionError(f"{source} cannot be read: {error}.") from error


def read_text(content: bytes) -> str:
    """What is in a file; what is not UTF-8 is replaced by a character that says so."""
    return content.decode("utf-8-sig", errors="replace")
