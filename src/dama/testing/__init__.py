"""Testing: what people who write slices and tasks need in their tests.

`given(slice, *events).when(*events).then(state)` tells what a slice makes of events.
`run(task, params)` runs a task on a real database, with stubs, crashes, signals and moved time.
`replay(file)` holds the code against runs that `dama export` has written into a file.
"""

from dama.testing.ran import Ran
from dama.testing.replaying import Replayed, replay
from dama.testing.running import StuckError, run, run_through_crashes
from dama.testing.scenario import Scenario, given

__all__ = [
    "Ran",
    "Replayed",
    "Scenario",
    "StuckError",
    "given",
    "replay",
    "run",
    "run_through_crashes",
]
