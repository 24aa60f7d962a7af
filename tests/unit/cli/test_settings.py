"""Settings are read as a whole when a command starts, whichever of them it needs."""

import pytest

from dama.cli import main
from dama.cli.settings import check
from dama.config.config import load_config

WRONG = {
    "a setting": ('databse_url = "postgresql://x/y"', "databse_url", "database_url"),
    "gateway": ("[gateway]\nprot = 8080", "prot", "port"),
    "aliases": ('[gateway.aliases]\n"GET /a" = {acton = "a.b"}', "acton", "action"),
    "broker": ('[broker]\nnamespce = "x"', "namespce", "namespace"),
    "offer": ('[broker]\noffer = ["task"]', "task", "tasks"),
    "breaker": ("[broker.breaker]\nthreshhold = 0.5", "threshhold", "threshold"),
    "keep": ('[keep]\nlgos = "30d"', "lgos", "logs"),
    "programs": ('[programs."a.b"]\ncommnad = ["true"]', "commnad", "command"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_typo_in_any_table_is_told_by_any_command(name, tmp_path, monkeypatch, capsys):
    """With the file, the key, and the nearest one that is known."""
    text, key, meant = WRONG[name]
    (tmp_path / "dama.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main(["ls"]) == 2
    said = capsys.readouterr().err
    assert "dama.toml" in said
    assert key in said
    assert f"Did you mean {meant!r}?" in said


@pytest.mark.parametrize(
    "text",
    [
        '[gateway]\nport = "8080"',
        "[gateway]\nbody_limit = true",
        "[broker]\nprotocol = 3",
        '[broker]\nurl = "127.0.0.1"',
        "[broker]\nstartable = 1",
        '[keep]\nlogs = "soon"',
        'inherit = "PATH"',
        '[programs]\nalone = {command = ["true"]}',
    ],
)
def test_a_wrong_value_in_any_table_is_told_by_any_command(text, tmp_path, monkeypatch, capsys):
    (tmp_path / "dama.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main(["ls"]) == 2
    assert "dama.toml" in capsys.readouterr().err


def test_what_a_setting_names_is_not_opened_by_a_command_that_does_not_need_it(tmp_path):
    """Who may list contexts need not read the credentials of the bus."""
    text = '[broker]\nurl = "tls://bus:4222"\ncreds_file = "/nowhere"\nca_file = "/nowhere"'
    (tmp_path / "dama.toml").write_text(text)
    check(load_config(cwd=tmp_path, environ={}))


def test_settings_cannot_be_changed_after_they_were_read(tmp_path):
    (tmp_path / "dama.toml").write_text("[gateway]\nport = 1\n[broker]\nprotocol = 4")
    config = load_config(cwd=tmp_path, environ={})
    for table in (config.gateway, config.broker, config.keep, config.programs):
        with pytest.raises(TypeError):
            table["port"] = 2
