"""The command line as a module: `python -m dama.cli`."""

import sys

from dama.cli import main

sys.exit(main())
