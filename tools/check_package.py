"""Check that the package holds what it needs: build it, look inside, start it from there.

The wheel is built from the sdist, as an installer may do, so that both are complete. It is then
unpacked alone and its `dama --help` is run, with the dependencies of the environment.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
DATA_SUFFIXES = {".py", ".sql", ".typed", ".css", ".html", ".js", ".svg"}

# Starts the console script's target, from the folder given first and not from the checkout.
START = """
import sys
folder, module, function, *arguments = sys.argv[1:]
sys.path.insert(0, folder)
sys.argv = ["dama", *arguments]
from importlib import import_module
found = import_module(module)
if not found.__file__.startswith(folder):
    sys.exit(f"{module} was imported from {found.__file__}, not from the package")
sys.exit(getattr(found, function)())
"""


def build(folder: Path) -> Path:
    """Return the wheel that was built into the folder, by way of an sdist."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"The package cannot be built:\n{done.stdout}{done.stderr}")
    return next(folder.glob("*.whl"))


def missing_files(names: set[str]) -> list[str]:
    """Return the files of src that the wheel should hold and does not."""
    wanted = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and path.suffix in DATA_SUFFIXES
    }
    return sorted(wanted - names)


def stray_files(names: set[str]) -> list[str]:
    """Return what would land outside the package in somebody's site-packages."""
    return sorted(
        name for name in names if not name.startswith("dama/") and ".dist-info/" not in name
    )


def script_target(folder: Path) -> tuple[str, str]:
    """Return module and function of the console script `dama`."""
    text = next(folder.glob("*.dist-info/entry_points.txt")).read_text(encoding="utf-8")
    for line in text.splitlines():
        name, _, target = line.partition("=")
        if name.strip() == "dama":
            module, _, function = target.strip().partition(":")
            return module, function
    sys.exit("The package has no script named dama.")


def start(folder: Path) -> None:
    """Run `dama --help` from the unpacked wheel, away from the checkout."""
    module, function = script_target(folder)
    command = [sys.executable, "-I", "-c", START, str(folder), module, function, "--help"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0 or "dama" not in done.stdout:
        sys.exit(
            f"`dama --help` from the package returned {done.returncode}:\n"
            f"{done.stdout}{done.stderr}"
        )


def main() -> None:
    """Build, look inside, start; exit with what is wrong."""
    with TemporaryDirectory() as temporary:
        wheel = build(Path(temporary) / "dist")
        folder = Path(temporary).resolve() / "site"
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
            archive.extractall(folder)
        if missing := missing_files(names):
            sys.exit("Missing from the package: " + ", ".join(missing))
        if stray := stray_files(names):
            sys.exit("Does not belong into the package: " + ", ".join(stray))
        if not any(name.endswith("licenses/LICENSE") for name in names):
            sys.exit("Missing from the package: LICENSE")
        start(folder)


if __name__ == "__main__":
    main()
