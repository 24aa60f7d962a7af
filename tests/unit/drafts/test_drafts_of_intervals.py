"""Intervals of crontabs and anacrontabs: as times of a clock where they come to the same."""

import pytest

from dama.drafts.crontab import draft_crontab
from dama.drafts.draft import write_toml


@pytest.mark.parametrize(
    ("when", "shown"),
    [
        ("@every 5m", '--cron "*/5 * * * *"'),
        ("@every 1m", '--cron "* * * * *"'),
        ("@every 60s", '--cron "* * * * *"'),
        ("@every 6h", '--cron "0 */6 * * *"'),
        ("@every 1h0m0s", '--cron "0 * * * *"'),
        ("@every 24h", '--cron "0 0 * * *"'),
        ("@every 1d", '--cron "0 0 * * *"'),
        ("@every_minute", '--cron "* * * * *"'),
        ("@600", '--cron "*/10 * * * *"'),
        ("@every 1h30m", "It ran @every 1h30m"),
        ("@every 7m", "It ran @every 7m"),
        ("@every 5s", "It ran @every 5s"),
        ("@every 0m", "It ran @every 0m"),
        ("@every_second", "It ran @every_second"),
        ("1\t5\tcron.daily", '--cron "0 0 * * *"'),
        ("7 25 weekly-job", '--cron "0 0 * * 0"'),
        ("@monthly 45 cron.monthly", '--cron "0 0 1 * *"'),
        ("3 10 third", "It ran @every 3d"),
        ("@Daily", '--cron "0 0 * * *"'),
        ("@HOURLY", '--cron "0 * * * *"'),
        ("@Reboot", "when the machine started"),
        ("@Every 1H", '--cron "0 * * * *"'),
        ("@Weekly 45 cron.weekly", '--cron "0 0 * * 0"'),
    ],
)
def test_an_interval_is_a_schedule_where_a_clock_has_it(when, shown):
    """Where it has not, the entry is drafted all the same, and says how often it ran."""
    drafts = draft_crontab("crontab", f"SHELL=/bin/sh\n{when} /x/run.sh --all\n", "cron")

    (draft,) = drafts.programs
    assert draft.command == ("/x/run.sh", "--all")
    assert shown in write_toml(drafts)


def test_a_job_of_cron_is_none_of_anacron():
    """A day of the month may be a letter; times that are none are said to be."""
    drafts = draft_crontab("crontab", "0 5 L * * /x/run\n1 5 1 jan mon /x/run\n", "cron")

    assert [each.command for each in drafts.programs] == [("/x/run",)]
    assert not any("anacrontab" in note for note in drafts.notes)
