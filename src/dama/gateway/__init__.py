"""The gateway: actions, tasks and contexts over HTTP. Stateless: any number of copies may serve.

`server` runs it and `application` is what is around each request: `origin` and `access` say who may
call, `compression` makes answers small. `fixed` has the paths that are no calls: `streams` follows
events, `files` gives logs and artifacts, `openapi` describes it all. `calls` makes a call of any
other request: `aliases` finds its action, `params` reads what it is given, `response` answers.
"""
