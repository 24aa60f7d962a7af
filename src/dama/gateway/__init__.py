"""The gateway: actions, tasks and contexts over HTTP. Stateless: any number of copies may serve.

`server` runs it and `application` puts it together: `access` says who may call, `invoke` makes a
call of a request and a response of its result, `aliases` finds the action of a path, `streams`
follows events, `files` gives logs and artifacts, `openapi` describes it all.
"""
