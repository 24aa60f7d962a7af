"""Testing: what people who write slices and tasks need in their tests.

`given(slice, *events).when(*events).then(state)` tells what a slice makes of events.
`run(task, params)` runs a task on a real database, with stubs, crashes, signals and moved time.
"""

from dama.testing.ran import Ran
from dama.testing.running import StuckError, run, run_through_crashes
from dama.testing.scenario import Scenario, given

__all__ = ["Ran", "Scenario", "StuckError", "given", "run", "run_through_crashes"]
