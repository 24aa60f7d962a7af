"""Variants of what public crontabs, Makefiles and package.json files hold."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dama.drafts.crontab import draft_crontab
from dama.drafts.draft import write_toml
from dama.drafts.source import draft_source


def cron(text, source="-"):
    return draft_crontab(source, text, "cron")


def make(tmp_path, text):
    (tmp_path / "Makefile").write_text(text)
    return draft_source(tmp_path / "Makefile", tmp_path, "m")


def schedules(draft):
    return [note for note in draft.notes if note.startswith("dama schedule add")]


# ---------------------------------------------------------------------------- crontabs


def test_a_disabled_entry_does_not_hide_the_column_of_users():
    text = (
        "0 3 * * * mc /srv/mc/update.sh\n# 0 5 7,14 * * mc /srv/mc/map.sh\n"
        "0 4 * * * root sudo -u mc /srv/mc/stop.sh; reboot\n"
    )
    commands = [draft.command for draft in cron(text).programs]
    assert commands == [
        ("/srv/mc/update.sh",), ("/bin/sh", "-c", "sudo -u mc /srv/mc/stop.sh; reboot"),
    ]  # fmt: skip


def test_a_word_that_only_a_user_can_be_is_one():
    """No shell takes `etl ( cd /src; ...)`, and cron started that without the first word."""
    text = "0 3 * * * etl ( cd /src/; . ./env; ./a.pl) 2>&1\n0 4 * * * etl /src/b.sh\n"
    first, second = cron(text).programs
    assert first.command == ("/bin/sh", "-c", "( cd /src/; . ./env; ./a.pl) 2>&1")
    assert second.command == ("/src/b.sh",)


@pytest.mark.parametrize("command", ["etl /srv/poll.sh", "loader\t/opt/bin/load -a"])
def test_what_may_be_a_user_or_a_program_is_kept_and_said(command):
    (draft,) = cron(f"0 5 * * * {command}\n").programs
    assert draft.command == tuple(command.split())
    assert any("may be the user" in note for note in draft.notes)


@pytest.mark.parametrize(
    "command", ["mysql -e 'call p()'", "mail -s x me", "mysql etl", "source /x && y"]
)
def test_a_program_that_has_the_name_of_a_user_is_no_user(command):
    (draft,) = cron(f"0 5 * * * {command}\n").programs
    assert not any("user" in note for note in draft.notes)
    assert draft.command[0] in {"mysql", "mail", "/bin/sh"}


def test_the_log_of_a_container_is_a_log():
    (draft,) = cron("1 1 * * * /srv/x > /proc/1/fd/1 2>/proc/1/fd/2\n").programs
    assert draft.command == ("/srv/x",)


def test_a_crontab_of_secrets_alone_says_so():
    """It has entries: whoever reads the draft learns which lines are left to them."""
    text = write_toml(cron("1 1 * * * run --password hunter2\n"))
    assert "Line 1 holds" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("command", ["php /srv/x.php", "find /tmp -delete", "python3 /srv/x.py"])
def test_a_program_that_everybody_has_is_no_user(command):
    (draft,) = cron(f"0 5 * * * {command}\n").programs
    assert not any("user" in note for note in draft.notes)


def test_a_percent_sign_that_leaves_half_a_command_ends_none():
    """cron would have started the half: whoever wrote it meant the whole."""
    (draft,) = cron("5 6 * * * sleep $(( RANDOM % 60 )) && /srv/x\n").programs
    assert draft.command == ("/bin/sh", "-c", "sleep $(( RANDOM % 60 )) && /srv/x")
    assert any("%" in note for note in draft.notes)


def test_lines_behind_a_percent_sign_are_named():
    """They are the input of the command, here too."""
    (draft,) = cron("5 6 * * 1 mail team%a 1%it's \\% off%\n").programs
    text = "mail team <<'END'\na 1\nit's % off\nEND"
    assert draft.command == ("/bin/sh", "-c", text)
    assert any("standard input" in note for note in draft.notes)
    assert draft.name == "cron.mail"


def test_a_secret_in_the_input_is_not_repeated():
    text = write_toml(cron("1 1 * * * /x\n5 6 * * * login%TOKEN=hunter2%\n"))
    assert "hunter2" not in text


def test_a_comment_of_several_lines_is_read_from_its_beginning():
    text = (
        "# =====\n# LOADS\n# =====\n# Queue what was not loaded; almost all\n"
        "# is, when it comes. See the manual.\n1 1 * * * /x\n"
    )
    (draft,) = cron(text).programs
    assert draft.help == "Queue what was not loaded; almost all is, when it comes."


@pytest.mark.parametrize(
    "comment",
    [
        "m h dom mon dow cmd", "min\thour day\tmonth weekday command",
        "m h  dom mon dow   user cmd",
        "@reboot sleep 60 && touch /tmp/x", "0 5 * * 1 tar -zcf /b.tgz /home", "*", "-----",
        ".------ minute (0 - 59)\n# |  .------ hour (0 - 23)\n# *  *  user-name command",
    ],
)  # fmt: skip
def test_what_explains_the_table_explains_no_entry(comment):
    (draft,) = cron(f"# {comment}\n1 1 * * * /x\n").programs
    assert draft.help == ""


def test_an_output_that_goes_where_the_errors_go_went_nowhere_else():
    (draft,) = cron("1 1 * * * /srv/x 2>&1\n").programs
    assert draft.command == ("/srv/x",)
    assert not any("output went" in note for note in draft.notes)


@pytest.mark.parametrize(
    ("command", "is_said"),
    [
        ("python load.py", True),
        ("pg_dump etl > dump.sql", True),
        ("./load -q", True),
        ("su - etl -c 'cd app && run'", False),
        ("$LOADERS/nightly.sh", False),
        ("/usr/bin/env python3 /srv/x.py", False),
        ("pg_dump etl > /b/dump.sql", False),
        ("cd /srv && . ./env && ./run > out", False),
        ("/srv/x > /proc/1/fd/1 2>/proc/1/fd/2", False),
    ],
)
def test_who_depends_on_where_cron_started_it_is_told(command, is_said):
    (draft,) = cron(f"1 1 * * * {command}\n").programs
    assert any("home folder" in note for note in draft.notes) is is_said


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("php /srv/stats.php", "stats"),
        ("A=x; export A; /srv/mod/cli.php y", "cli"),
        (". /etc/env && cd $R/loaders && python clean.py", "clean"),
        ("source $R/.env && ./nightly.sh", "nightly"),
        ("su - me -c 'cd /app && python3 product.py'", "product"),
        ("test -x /usr/sbin/y || run-parts /etc/cron.daily", "run-parts"),
        ("sleep $(( RANDOM / 600 )) && backup-all", "backup-all"),
        ("sleep 5; ruby /srv/poll.rb", "poll"),
        ("collect", "collect"),
    ],
)
def test_an_entry_is_called_like_what_it_is_about(command, name):
    (draft,) = cron(f"1 1 * * * {command}\n").programs
    assert draft.name == f"cron.{name}"


def test_sub_commands_of_one_program_have_names_of_their_own():
    text = "@daily ./manage.py clear\n@daily ./manage.py index\n"
    assert [draft.name for draft in cron(text).programs] == ["cron.manage", "cron.manage-index"]


def test_one_command_at_several_times_is_one_program_with_several_schedules():
    text = "0 * * * * run a\n15 * * * * run b\n30 * * * * run a\n"
    first, second = cron(text).programs
    assert [each.split()[-3] for each in schedules(first)] == ['*"', '*"']
    assert [each.split()[3] for each in schedules(first)] == ["run", "run-2"]
    assert second.command == ("run", "b")


def test_a_schedule_is_one_line_to_copy():
    name = "refresh-" + "x" * 60
    text = write_toml(cron(f"*/5 * * * * /srv/{name} y\n"))
    (line,) = [each for each in text.splitlines() if "dama schedule add" in each]
    assert line.endswith('--cron "*/5 * * * *" --zone THE-ZONE-OF-THAT-HOST')


@pytest.mark.parametrize("source", ["etc/crontab", "/x/cron.d/etl", "etc/cron.d/etl"])
def test_a_system_table_is_known_by_where_it_is(source):
    (draft,) = cron("0 5 * * * etl /srv/x\n", source).programs
    assert draft.command == ("/srv/x",)


def test_line_ends_and_marks_of_other_systems():
    (draft,) = cron("\ufeff# a\r\n\r\n5 4 * * * /x a\x0cb\u2028c\r\n").programs
    assert draft.command[-1] == "a\x0cb\u2028c" or draft.command == ("/x", "a", "b\u2028c")


def test_a_file_that_is_not_utf8_is_read_but_for_what_nobody_can_read(tmp_path):
    """A comment in another encoding ends no import; a command in one is left to the person."""
    file = tmp_path / "crontab"
    file.write_bytes("# täglich\n1 1 * * * /x\n2 2 * * * /ärger\n".encode("latin-1"))
    drafts = draft_source(file, tmp_path)
    assert [draft.command for draft in drafts.programs] == [("/x",)]
    assert any("Line 3" in note and "UTF-8" in note for note in drafts.notes)


def test_standard_input_may_have_any_bytes(tmp_path):
    command = [str(Path(sys.executable).with_name("dama")), "import", "-"]
    done = subprocess.run(
        command,
        input=b"# t\xe4glich\n1 1 * * * /x\n",
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b'command = ["/x"]' in done.stdout) == (0, True), done.stderr


# --------------------------------------------------------------------------- Makefiles


def test_variables_of_several_lines_and_of_branches_are_no_params(tmp_path):
    text = (
        "ifeq ($(X),)\n  COMPOSE := docker compose\nelse\n  export COMPOSE = other\nendif\n"
        "define check\n@test -n '$(AREA)'\nendef\ndefine more =\nx\nendef\n"
        "load: export IMAGE = y\nload: override private WAIT := 3\n"
        "load:\n\t$(check)\n\t$(COMPOSE) $(IMAGE) $(WAIT) $(more) $(YEAR)\n"
    )
    (draft,) = make(tmp_path, text).programs
    assert [option.name for option in draft.options] == ["year"]


def test_what_it_includes_is_said(tmp_path):
    drafts = make(tmp_path, "include default.mk\n-include .env ../x.mk\nload:\n\t./load\n")
    assert any("default.mk, .env, ../x.mk" in note for note in drafts.notes)


def test_a_file_of_lines_of_other_systems(tmp_path):
    (tmp_path / "Makefile").write_bytes(
        b"YEAR ?= 2013\r\nload: \\\r\n  setup\r\n\t./load $(YEAR)\r\n"
    )
    (draft,) = draft_source(tmp_path / "Makefile", tmp_path, "m").programs
    assert (draft.command, draft.options[0].default) == (("make", "load"), 2013)


# ------------------------------------------------------------------------ package.json


@pytest.mark.parametrize(
    ("package", "manager"),
    [
        ({"packageManager": "pnpm@9.1.0+sha512.abc"}, "pnpm"),
        ({"packageManager": "yarn@4.1.0"}, "yarn"),
        ({"packageManager": "bun@1"}, "bun"),
        ({"packageManager": ["?"]}, "npm"),
        ({}, "npm"),
    ],
)
def test_the_package_manager_that_a_package_names_is_used(tmp_path, package, manager):
    scripts = {"load": "node load.js", "prepublishOnly": "x", "uninstall": "y", "prepack": "z"}
    (tmp_path / "package.json").write_text(json.dumps({**package, "scripts": scripts}))
    (draft,) = draft_source(tmp_path / "package.json", tmp_path).programs
    assert draft.command[0] == manager
