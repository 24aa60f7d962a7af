"""`dama` in one folder, on one database."""

import subprocess
from pathlib import Path


class Command:
    """Call it with arguments to run a command to its end.

    Args:
        folder: Of the project.
        environ: That of all commands; `dama` is found by its PATH.
    """

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.environ = environ

    def __call__(
        self, *arguments: object, text: str = "", check: bool = False, **changes: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command.

        Args:
            arguments: What is typed after `dama`.
            text: What is on standard input.
            check: Any exit code but 0 is an error.
            changes: Of the environment.

        Returns:
            Its exit code and what it printed.
        """
        done = subprocess.run(
            ["dama", *map(str, arguments)],
            cwd=self.folder,
            env=self.environ | changes,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if check and done.returncode:
            error = subprocess.CalledProcessError(
                done.returncode, done.args, done.stdout, done.stderr
            )
            error.add_note(done.stderr)
            raise error
        return done
