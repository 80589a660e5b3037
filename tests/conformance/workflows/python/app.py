"""`tour` by the official SDK for Python: what it does stands in ../README.md."""

import signal
from datetime import timedelta

import dapr.ext.workflow as wf

runtime = wf.WorkflowRuntime()


@runtime.activity(name="stamp")
def stamp(_, text):
    return f"{text}>python"


@runtime.workflow(name="tour")
def tour(context, text):
    first = yield context.call_activity(stamp, input=text)
    branches = [context.call_activity(stamp, input=f"{first}{n}") for n in (1, 2, 3)]
    stamped = yield wf.when_all(branches)
    yield context.create_timer(timedelta(milliseconds=50))
    word = yield context.wait_for_external_event("go")
    return "|".join([*stamped, word])


runtime.start()
signal.sigwait({signal.SIGTERM})
runtime.shutdown()
