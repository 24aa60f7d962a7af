"""Crontabs, Makefiles and scripts as they are found: what is kept, left to the person, or said."""

import pytest

from dama.domain.errors import InvalidScheduleError
from dama.domain.schedule import Schedule, check_cron
from dama.drafts.crontab import draft_crontab
from dama.drafts.draft import param_name, task_name, write_toml
from dama.drafts.options import find_options
from dama.drafts.secret import secret_in
from dama.drafts.shell import read_line
from dama.drafts.sightings import find_sightings
from dama.drafts.source import draft_source

SECRETS = [
    """sh -c 'export A="u"; export X_PASSWORD="hunter2"; run'""",
    "curl --password hunter2 http://x/",
    "curl --password=hunter2 x",
    "curl -u me:hunter2 https://x/",
    "curl --user me:hunter2 x",
    "wget --http-password='hunter2' x",
    """curl -H 'Authorization: Bearer hunter2' x""",
    """curl -H "X-Api-Key: hunter2" x""",
    """curl -d '{"password": "hunter2"}' x""",
    "psql postgresql://me:hunter2@db/etl -f x.sql",
    "mysql -u me -phunter2 etl",
    "run | PGPASSWORD=hunter2 psql",
    "true && export TOKEN=hunter2 && run",
    "node x.mjs --api-key hunter2",
    "env API_TOKEN=hunter2 run",
    "bash -c \"DB_PASS='hunter2' run\"",
]
PLAIN = [
    "curl http://localhost:8080/x",
    'run --token "$TOKEN"',
    "PGPASSWORD=$DB_PASSWORD psql",
    "run --password-file /etc/x",
    """curl -H "Authorization: Bearer $TOKEN" x""",
    "psql -p 5432 -U me -h db",
    "rsync -av host:/a/b /c",
    "tar -xzf tokens.tar",
]


@pytest.mark.parametrize("command", SECRETS)
def test_an_entry_with_a_secret_is_left_to_the_person(command):
    """Nothing of it is repeated, and nothing is cut out of it: half a command runs as well."""
    drafts = draft_crontab("crontab", f"0 5 * * * {command}\n1 1 * * * /bin/true\n", "cron")
    text = write_toml(drafts)
    assert "hunter2" not in text
    assert "Line 1 holds" in text
    assert [draft.command for draft in drafts.programs] == [("/bin/true",)]


@pytest.mark.parametrize("command", PLAIN)
def test_what_is_no_secret_is_kept_as_it_is(command):
    (draft,) = draft_crontab("crontab", f"0 5 * * * {command}\n", "cron").programs
    assert draft.command[-1] in {command, command.split()[-1]}
    assert secret_in(command) is None


def test_variables_before_a_command_are_named_and_their_values_left_out():
    (draft,) = draft_crontab(
        "c", "1 1 * * * X_TOKEN='a b' URL=http://u:p@h LANG=C run\n", "c"
    ).programs
    assert (draft.command, draft.env) == (("run",), {"LANG": "C"})
    assert draft.secrets == ("X_TOKEN", "URL")
    assert any("mode 0600" in note for note in draft.notes)


def test_no_note_repeats_a_secret(tmp_path):
    package = tmp_path / "package.json"
    package.write_text('{"scripts": {"db": "PGPASSWORD=hunter2 psql"}}')
    assert "hunter2" not in write_toml(draft_source(package, tmp_path))
    text = "no entry at all: TOKEN=hunter2\n1 1 * * * run\n# --token hunter2\n2 2 * * * x\n"
    assert "hunter2" not in write_toml(draft_crontab("crontab", text, "cron"))


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("pg_dump prod > /backup/prod.sql", "pg_dump prod > /backup/prod.sql"),
        ("load.sh >> /var/log/load.log 2>&1", None),
        ("load.sh > /dev/null", None),
        ("a | b > out.csv", "a | b > out.csv"),
        ("cd /opt && load.sh > /dev/null 2>&1", None),
        ("sort < in > out", "sort < in > out"),
        ("load.sh 2> /tmp/errors", None),
    ],
)
def test_a_redirection_that_is_the_product_is_kept(command, kept):
    """A log is kept by dama anyway; a dump is what the entry is there for."""
    (draft,) = draft_crontab("crontab", f"0 5 * * * {command}\n", "cron").programs
    assert draft.command == (("/bin/sh", "-c", kept) if kept else ("load.sh",))


@pytest.mark.parametrize(
    ("line", "command", "cron"),
    [
        ("0 0 2 * * ? /x", ("/x",), "0 2 * * *"),
        ("0 15 10 ? * MON-FRI /x", ("/x",), "15 10 * * MON-FRI"),
        ("0 0 2 1 1 ? 2030 /x", ("/x",), "0 2 1 1 *"),
        ("@daily\t/x", ("/x",), "0 0 * * *"),
        ("5\t4 * *\t*\t/x  a", ("/x", "a"), "5 4 * * *"),
    ],
)
def test_dialects_of_entries(line, command, cron):
    (draft,) = draft_crontab("crontab", f"{line}\n", "cron").programs
    assert draft.command == command
    assert any(f'--cron "{cron}"' in note for note in draft.notes)


def test_times_that_cannot_be_a_schedule_are_said():
    (draft,) = draft_crontab("crontab", "99 99 * * * /x\n", "cron").programs
    assert any("cannot be a schedule here" in note for note in draft.notes)


@pytest.mark.parametrize(
    "text",
    [
        "# m h dom mon dow user command\n1 1 * * *\troot\t/x a\n",
        "1 1 * * * root /x a\n2 2 * * *\twww-data  /x a\n",
    ],
)
def test_a_column_with_users_is_found_with_tabs_and_without_a_header(text):
    for draft in draft_crontab("crontab", text, "cron").programs:
        assert draft.command == ("/x", "a")


def test_relative_commands_begin_at_home():
    """cron starts an entry in the home folder of its user."""
    drafts = draft_crontab("c", "HOME=/srv/etl\n1 1 * * * cd sub && ./x\n2 2 * * * bin/y\n", "c")
    assert [draft.cwd for draft in drafts.programs] == ["/srv/etl/sub", "/srv/etl"]
    (draft,) = draft_crontab("crontab", "1 1 * * * ./x\n", "cron").programs
    assert any("home folder" in note for note in draft.notes)


def test_names_of_times_are_schedules():
    check_cron("@daily")
    assert Schedule("s", "t", "@weekly").cron == "@weekly"
    with pytest.raises(InvalidScheduleError, match="@reboot"):
        check_cron("@reboot")


def test_targets_that_are_commands_with_names_like_files(tmp_path):
    """A recipe that names neither `$@` nor its target makes no file."""
    makefile = tmp_path / "Makefile"
    makefile.write_text(
        "load.flights:\n\tpython load.py flights\n"
        "out/x.csv: in.csv\n\tsort $< > $@\n"
        "y.csv:\n\tcurl x > y.csv\n"
        "$(foreach y,2013 2014,load-$(y)): setup\n\techo $@\n"
        "a $(b) c: ; run\n"
    )
    drafts = draft_source(makefile, tmp_path, "m")
    assert {draft.command[-1] for draft in drafts.programs} == {"load.flights", "a", "c"}
    assert any("out/x.csv, y.csv" in note for note in drafts.notes)
    assert any("computes" in note for note in drafts.notes)


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("node", "yargs.option(spec)", "from a variable"),
        ("node", "yargs.options(specs).argv", "from a variable"),
        ("node", "yargs.command('load <year>', 'x', y => y.option('a', {}))", "load"),
        ("node", "yargs.command({ command: 'check', builder })", "check"),
        ("node", "const { values } = parseArgs({ options })", "parseArgs"),
        ("python", "p.add_subparsers().add_parser('load')", "load"),
        (
            "python",
            "@click.group()\ndef cli(): ...\n@cli.command('by-year')\ndef f(): ...",
            "by-year",
        ),
        (
            "python",
            "@x.group()\ndef cli(): ...\n@cli.command()\n@opt(1)\ndef load_it(): ...",
            "load-it",
        ),
        ("python", "getopt.getopt(sys.argv[1:], 'a:')", "getopt"),
        ("python", "args = docopt(__doc__)", "docopt"),
        ("python", "import fire\nfire.Fire(load)", "fire"),
        ("python", "typer.run(main)", "typer"),
        ("python", "app = typer.Typer()\n@app.command()\ndef f(year: int): ...", "typer"),
        ("python", "flags.DEFINE_integer('year', 2013, 'which')", "absl"),
        ("python", "plac.call(main)", "plac"),
        ("python", "@hydra.main(config_path=None)\ndef f(cfg): ...", "hydra"),
        ("python", "args = tyro.cli(Args)", "tyro"),
        ("node", "const args = arg({ '--year': Number })", "parseArgs or the like"),
        ("node", "const cli = cac('load')", "parseArgs or the like"),
        ("R", 'p <- add_argument(arg_parser("x"), "--year")', "argparser"),
        ("R", "p <- arg_parser('x') %>% add_argument('--year')", "argparser"),
        ("R", 'parser$add_argument("--year", type="integer")', "argparse;"),
        ("R", "args <- docopt(doc)", "docopt"),
        ("perl", "getopts('vf:', \\%opts);", "getopts"),
        ("sh", 'args=$(getopt -o a: --long year: -- "$@")', "getopt"),
    ],
)
def test_what_cannot_be_suggested_is_said(language, text, words):
    assert any(words in note for note in find_sightings(language, text))


@pytest.mark.parametrize(
    ("name", "content", "command", "help_"),
    [
        ("load.sh", "#!/bin/sh\n# Load a day.\n", ("sh", "load.sh"), "Load a day."),
        ("tool", "#!/usr/bin/env -S bash -e\r\n", ("/usr/bin/env", "bash", "-e", "tool"), ""),
        ("lib.py", "def one(): ...\n", ("python3", "lib.py"), ""),
        ("bom.py", "\ufeff'Load a month.'\n", ("python3", "bom.py"), "Load a month."),
    ],
)
def test_one_script_is_drafted_when_it_is_named(tmp_path, name, content, command, help_):
    path = tmp_path / name
    path.write_bytes(content.encode())
    if name == "tool":
        path.chmod(0o755)
    (draft,) = draft_source(path, tmp_path, "etl").programs
    assert (draft.command, draft.help) == (command, help_)


def test_a_script_that_is_not_utf_8_has_no_broken_options(tmp_path):
    """Python says how its text is encoded; what nobody says is left out, and that is said."""
    text = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--größe')\n"
    (tmp_path / "said.py").write_bytes(f"# -*- coding: latin-1 -*-\n{text}".encode("latin-1"))
    (tmp_path / "not.py").write_bytes(text.encode("latin-1"))
    wrong, right = draft_source(tmp_path, tmp_path, "etl").programs
    assert [option.name for option in right.options] == ["grosse"]
    assert (wrong.options, "UTF-8" in wrong.notes[0]) == ((), True)


def test_a_name_with_accents_is_one_without():
    """A task can be called by it."""
    assert (task_name("Überblick.2"), param_name("--größe")) == ("uberblick-2", "grosse")


def test_an_option_of_argparse_is_called_as_it_is_given():
    """What it stores may be the opposite; a pair of --x and --no-x takes no value."""
    text = """import argparse
p = argparse.ArgumentParser()
p.add_argument("--no-cache", dest="cache", action="store_false")
p.add_argument("--index", action=argparse.BooleanOptionalAction, default=True)
"""
    options = {option.name: option for option in find_options("python", text)}

    assert {name: option.type for name, option in options.items()} == {
        "no_cache": "boolean", "index": "boolean",
    }  # fmt: skip
    assert options["index"].parts == ("--index{?index}",)


def test_what_a_loop_shifts_is_no_argument_of_the_script():
    text = """#!/bin/bash
while [[ $# -gt 0 ]]; do
  case "$1" in
    -y|--year) YEAR="$2"; shift 2 ;;
    *) echo "unknown $1"; exit 1 ;;
  esac
done
while read -r line; do
  echo "$3 $line"
done
"""
    assert {option.name for option in find_options("sh", text)} == {"year", "arg_3"}


def test_a_table_of_options_of_yargs_is_read():
    text = """yargs.options({ year: { type: 'number', demandOption: true },
      'dry-run': {type: "boolean", describe: "a } in it"} }).argv"""
    found = {option.name: option for option in find_options("node", text)}
    assert (found["year"].type, found["year"].required) == ("number", True)
    assert found["dry_run"].type == "boolean"


@pytest.mark.parametrize(
    "char",
    ["-", "(", "[", "{", "'", '"', "a=", "$(", "://", "\\", "|", "@x.command(", ".options({"],
)
def test_no_file_ends_the_import(tmp_path, char):
    """A hundred thousand of anything is somebody's file."""
    for name in ("x.py", "x.sh", "x.mjs", "x.sql", "x.R"):
        (tmp_path / name).write_text(char * 100_000)
    write_toml(draft_source(tmp_path, tmp_path, "wild"))
    assert read_line(char * 200_000).words is None


def test_users_without_a_header_are_users_also_beside_ones_that_nobody_knows():
    """`etl /srv/poll.sh` alone may be a command; beside `root` it is a column."""
    text = (
        "*/10 * * * *\tetl\t/srv/poll.sh --a 1\n0 4 * * * www-data php artisan run >/dev/null\n"
        "@hourly root cd / && run-parts x\n"
    )
    programs = draft_crontab("-", text, "cron").programs
    assert [draft.command for draft in programs] == [
        ("/srv/poll.sh", "--a", "1"), ("php", "artisan", "run"), ("run-parts", "x"),
    ]  # fmt: skip
    assert "cron ran it as the user etl." in programs[0].notes


def test_one_user_among_commands_is_a_user_of_that_entry():
    text = "5 5 * * * root /srv/a.sh\n6 5 * * * /srv/b.sh x\n7 5 * * * python3 /srv/c.py\n"
    programs = draft_crontab("-", text, "cron").programs
    assert [draft.command for draft in programs] == [
        ("/srv/a.sh",), ("/srv/b.sh", "x"), ("python3", "/srv/c.py"),
    ]  # fmt: skip


def test_a_comment_is_about_the_entry_below_it():
    text = "# Nightly load\n0 3 * * * /srv/a.sh\n0 4 * * * /srv/b.sh\n"
    assert [draft.help for draft in draft_crontab("-", text, "c").programs] == ["Nightly load", ""]


def test_an_option_that_is_counted_takes_no_value():
    text = (
        "import argparse\np = argparse.ArgumentParser()\n"
        "p.add_argument('-v', '--verbose', action='count')\n"
    )
    (option,) = find_options("python", text)
    assert option.type == "boolean"


def test_a_script_of_nothing_is_no_program(tmp_path):
    package = tmp_path / "package.json"
    package.write_text('{"scripts": {"a": " ", "b": "node b.js"}}')
    assert [draft.name.split(".")[-1] for draft in draft_source(package, tmp_path).programs] == [
        "b"
    ]


def test_a_static_pattern_makes_files(tmp_path):
    makefile = tmp_path / "Makefile"
    makefile.write_text(
        "a.o b.o: %.o: %.c\n\tcc -c $<\nload-x load-y: load-%: init\n\t./load.sh $*\n"
    )
    programs = draft_source(makefile, tmp_path).programs
    assert [draft.command for draft in programs] == [("make", "load-x"), ("make", "load-y")]


@pytest.mark.parametrize(("name", "text"), [("Makefile", "# soon\n"), ("package.json", "{}")])
def test_a_source_of_nothing_says_so(tmp_path, name, text):
    source = tmp_path / name
    source.write_text(text)
    assert "nothing to declare" in write_toml(draft_source(source, tmp_path))


@pytest.mark.parametrize(
    ("text", "command", "note"),
    [
        ("-*/15 * * * * root /x/run", ("/x/run",), "the user root"),
        ("*/5 * * * * root:staff /x/run\n1 1 * * * root /x/y", ("/x/run",), "the user root:staff"),
        ("0 5 * * * -n -q /x/run", ("/x/run",), "the flags -n -q"),
        ("0 0 ? * 5 /x/run", ("/x/run",), '--cron "0 0 * * 5"'),
        ("0 0 L * * /x/run", ("/x/run",), '--cron "0 0 L * *"'),
        ("H(0-29)/10 * * * * /x/run", ("/x/run",), "cannot be a schedule"),
        (
            "@reboot sleep 30 && /x/run\n@reboot root /x/y",
            ("/bin/sh", "-c", "sleep 30 && /x/run"),
            "",
        ),
        ('"C" = "x y"\n0 5 * * * /x/run', ("/x/run",), ""),
    ],
)
def test_entries_of_other_crons(text, command, note):
    """SUSE, FreeBSD, OpenBSD, Quartz, Jenkins; what a shell does before is no user."""
    draft = draft_crontab("crontab", f"{text}\n", "cron").programs[0]
    assert draft.command == command
    assert note in " ".join(draft.notes)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("test -x /x/anacron || { cd / && run-parts --report /etc/d; }", "cron.run-parts"),
        ("if pgrep x; then nightly; fi", "cron.pgrep"),
        ("source /x/.env && cd $ROOT && ./nightly.sh &>> /x/a.log", "cron.nightly"),
    ],
)
def test_groups_of_a_shell_are_no_names(command, name):
    """An entry is called like what it starts."""
    (draft,) = draft_crontab("crontab", f"0 5 * * * {command}\n", "cron").programs
    assert draft.name == name


def test_an_entry_without_a_command_is_none():
    drafts = draft_crontab("crontab", "0 5 * * * *\n0 5 * * *\n1 1 * * * x\n", "cron")
    assert [draft.command for draft in drafts.programs] == [("x",)]
    assert len(drafts.notes) == 2


MAKEFILES = {
    "a colon that is escaped": ("db\\:migrate:\n\t./m\n", ["db:migrate"], ""),
    "a colon within a reference": (
        "$(Y:%=x-%): x-%:\n\t./x $*\nall:\n\t./x\n",
        ["all"],
        "computes their names: $(Y:%=x-%).",
    ),
    "rules that are indented": ("ifeq (1,1)\n  load:\n\t./x\nendif\n", ["load"], ""),
    "another prefix": (".RECIPEPREFIX = >\nload:\n> ./x $(YEAR)\n", ["load"], "YEAR={year}"),
    "a condition in a recipe": (
        "load:\nifndef YEAR\n\t$(error none)\nendif\n\t./x $(YEAR)\n",
        ["load"],
        "YEAR={year}",
    ),
    "a loop's own variable": ("all: $(foreach y,$(YS),l-$(y))\n", ["all"], '"YS={ys}"]'),
    "what does nothing": ("x.csv: FORCE\n\tget x.csv\nFORCE:\n", [], "they are files: x.csv."),
    "a folder": ("build/:\n\tmkdir build\nload:\n\t./x\n", ["load"], "they are files: build/."),
    "a mark": ("\ufeffload:\n\t./x\n", ["load"], ""),
    "no text": ("\x00\x01load:\n\techo\n", [], "nothing to declare"),
    "a comment of two lines": (
        "# Load all\n# flights. Slow.\nload:\n\t./x\n",
        ["load"],
        "Load all flights.",
    ),
}


@pytest.mark.parametrize(("text", "targets", "said"), MAKEFILES.values(), ids=MAKEFILES)
def test_makefiles_of_all_kinds(tmp_path, text, targets, said):
    """What make would do with the lines, whatever is in them."""
    (tmp_path / "Makefile").write_text(text)
    drafts = draft_source(tmp_path / "Makefile", tmp_path)
    assert [draft.command[-1] for draft in drafts.programs] == targets
    assert said in write_toml(drafts)


FOUND = {
    "yargs by kind": (
        "node",
        "yargs.boolean('dry-run').string(['name']).array('fs').option('m', {choices: ['x', 'y']})",
        {"dry_run": "boolean", "name": "string", "fs": "list", "m": "x y"},
    ),
    "a table of yargs": (
        "node",
        "yargs.options({ a: { boolean: true }, b: { array: true }, c: { number: true } })",
        {"a": "boolean", "b": "list", "c": "number"},
    ),
    "arguments of commander": (
        "node",
        "c.argument('<year>').argument('[more...]').option('-p, --port <n>', 'x', parseInt, 80)",
        {"port": "integer", "year": "string", "more": "list"},
    ),
    "flags that are looked for": (
        "node",
        "process.argv.includes('--dry')",
        {"dry": "boolean"},
    ),
    "click that counts": (
        "python",
        """
@click.command()
@click.option('-v', '--verbose', count=True)
@click.option('--upper', flag_value='u')
@click.option('--pair', nargs=2, type=int)
def main(): pass
""",
        {"verbose": "boolean", "upper": "boolean", "pair": "list"},
    ),
    "optparse": (
        "python",
        """
p.add_option('-y', '--year', type='int', default=2013)
p.add_option('--dry', action='store_true')
""",
        {"year": "integer", "dry": "boolean"},
    ),
    "the rest of argparse": (
        "python",
        "p.add_argument('rest', nargs=argparse.REMAINDER)",
        {"rest": "list"},
    ),
    "Getopt::Long": (
        "perl",
        """
GetOptions('y|year=i' => \\$y, 'tag=s' => \\@t, 'dry!' => \\$d, 'help|?' => \\$h);
$x =~ s/(a)/$1/;
""",
        {"year": "integer", "tag": "list", "dry": "boolean"},
    ),
    "words of awk": (
        "sh",
        "awk '{print $1, $2}' x\ncat <<'E'\n$3\nE\necho \"$4\"\n",
        {"arg_4": "string"},
    ),
    "an argument that may miss": (
        "sh",
        'a=$1\nb="${2:-}"\n',
        {"arg_1": "string", "arg_2": "string"},
    ),
    "sub-commands": (
        "python",
        """
s = p.add_subparsers()
a = s.add_parser('load')
a.add_argument('--dry')
b = s.add_parser('check')
b.add_argument('--all')
""",
        {},
    ),
}


@pytest.mark.parametrize(("language", "text", "kinds"), FOUND.values(), ids=FOUND)
def test_options_of_many_libraries(language, text, kinds):
    """What of several commands is of none together: it is said instead."""
    found = {
        option.name: "list" if option.list else " ".join(option.choices) or option.type
        for option in find_options(language, text)
    }
    assert found == kinds
    if not kinds:
        assert "sub-commands" in " ".join(find_sightings(language, text))


def test_an_argument_that_may_miss_is_left_out():
    """Only the last: else others would take its place."""
    found = {each.name: each for each in find_options("sh", 'a=$1\nb="${2:-}"\nc="${3-}"\n')}
    assert [found[name].required for name in ("arg_1", "arg_2", "arg_3")] == [True, True, False]
    assert found["arg_3"].parts == (("{arg_3}",),)


def test_targets_that_are_no_commands_are_named(tmp_path):
    """Hidden files, patterns and what make computes: whoever looks for them knows why not."""
    (tmp_path / "Makefile").write_text(
        ".PHONY: all\n.c.o:\n\tcc $<\nall:\n\trun\n"
        ".done/load: x\n\trun\n\ttouch $@\n.venv:\n\tuv sync\n"
        "load-%:\n\trun $*\nload-%: x\n$(foreach y,1 2,$(eval $(call rule,$(y))))\n"
    )
    drafts = draft_source(tmp_path / "Makefile", tmp_path)

    assert [each.command for each in drafts.programs] == [("make", "all")]
    assert drafts.notes == (
        "Passed over, for they are files: .done/load, .venv.",
        "Passed over, for they are patterns of names: load-%.",
        "Passed over, for make computes their names: $(eval …).",
    )


@pytest.mark.parametrize(
    ("entries", "command"),
    [
        ("sync all\n0 6 * * * sync a && sync b", ("sync", "all")),
        ("etl /x/run", ("/x/run",)),
        ("etl cd /x && run", ("run",)),
    ],
)
def test_a_comment_about_users_is_believed_where_it_can_be_true(entries, command):
    """Many keep the comments of a system's crontab in one of their own."""
    text = f"# m h dom mon dow user command\n0 5 * * * {entries}\n"

    assert draft_crontab("crontab", text, "cron").programs[0].command == command


def test_a_user_that_may_be_a_program_is_said():
    """The person knows; a first run would only say that there is no such program."""
    text = "# m h dom mon dow user command\n0 5 * * * manager update\n"
    (draft,) = draft_crontab("crontab", text, "cron").programs

    assert "If manager is a program, put it before the command." in draft.notes[0]
