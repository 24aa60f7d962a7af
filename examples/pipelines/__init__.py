"""Pipelines: three loads as they are met most often, each a module of a page.

`readings` follows an API that fails now and then, `months` loads a folder of files of which some
are broken, `invoices` goes through a program, SQL, a conversion and a person. Each may be killed
at any moment: `tests/acceptance/test_pipelines.py` does it.
"""
