"""The flights: `flights.load` against a psql script written by hand."""
