"""Adopting a database: no table is read while the lock that keeps everybody out is held."""

import psycopg
import pytest

from dama.store.adoption.adopt import adopt
from tests.conftest import url_of
from tests.migration.first_system import fill, rows
from tests.migration.test_adoption import execute

# What each ALTER TABLE does, as the database sees it: how often it reads the events from the
# first to the last one, and whether it keeps readers and writers out until its transaction ends.
PROBE = """
CREATE TABLE public.altered (command text, scans bigint, is_alone boolean);
CREATE FUNCTION public.probe() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  events regclass := '_data_manager_admin.event_store_prototype';
  scans bigint := coalesce(pg_stat_get_xact_numscans(events), 0);
BEGIN
  IF TG_EVENT = 'ddl_command_start' THEN
    PERFORM set_config('probe.scans', scans::text, false);
    RETURN;
  END IF;
  INSERT INTO public.altered SELECT current_query(), scans - current_setting('probe.scans')::bigint,
    EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND granted
              AND relation = events AND mode = 'AccessExclusiveLock');
END $$;
CREATE EVENT TRIGGER probe_start ON ddl_command_start WHEN TAG IN ('ALTER TABLE')
  EXECUTE FUNCTION public.probe();
CREATE EVENT TRIGGER probe_end ON ddl_command_end WHEN TAG IN ('ALTER TABLE')
  EXECUTE FUNCTION public.probe();
"""
SCAN = (
    "ALTER TABLE _data_manager_admin.event_store_prototype ADD CONSTRAINT probed CHECK (type <> '')"
)


@pytest.fixture
def probed(server, empty_database_url):
    """A database of the first system that notes what is done to its events."""
    fill(empty_database_url, contexts=20, events=5)
    name = psycopg.conninfo.conninfo_to_dict(empty_database_url)["dbname"]
    execute(url_of(server, name, "dama"), PROBE)  # event triggers are a superuser's
    execute(url_of(server, name, "dama"), "GRANT SELECT ON public.altered TO PUBLIC")
    return empty_database_url


async def test_the_events_are_never_read_while_others_are_kept_out(probed):
    """INSERTs of old programs wait for no scan, however many events there are."""
    await adopt(probed, lambda _: None)

    altered = rows(probed, "SELECT command, scans > 0, is_alone FROM public.altered")
    assert [command for command, is_read, is_alone in altered if is_read and is_alone] == []
    validated = {command for command, is_read, _ in altered if is_read}
    assert any("VALIDATE CONSTRAINT adoption_" in command for command in validated)
    declared = [command for command, _, is_alone in altered if is_alone]
    assert any("SET NOT NULL" in command for command in declared)


def test_the_probe_sees_a_scan_under_the_lock(probed):
    """It notes what an adoption must not do."""
    execute(probed, SCAN)

    ((is_read, is_alone),) = rows(probed, "SELECT scans > 0, is_alone FROM public.altered")
    assert (is_read, is_alone) == (True, True)
