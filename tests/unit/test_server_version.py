"""The version of the server: who only reads meets the same refusal as who migrates."""

import pytest

from dama.store.errors import SchemaError
from dama.store.server_version import refuse_old_server


@pytest.mark.parametrize(("version", "name"), [(130023, "13.23"), (120000, "12.0")])
def test_an_old_server_is_refused_by_name(version, name):
    """To migrate it would be advice that cannot be followed."""
    with pytest.raises(SchemaError, match=f"PostgreSQL {name} is too old: dama needs 14"):
        refuse_old_server(version)


@pytest.mark.parametrize("version", [140000, 180001])
def test_a_newer_server_is_not(version):
    """From 14 on."""
    refuse_old_server(version)
