"""The service as its own command line: `python -m examples.flights load --year 2013`."""

from examples.flights import flights

flights.main()
