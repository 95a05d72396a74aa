"""Background work that outlives its process: a queue in the service's database.

A task is put in the transaction of the change that causes it, so both happen or neither. A worker takes it, runs it and
deletes it. If the worker's process dies, another one takes the task when the lease is over: a task runs at least once,
and its effects happen once if they are made in the transaction that `Run.transaction` gives.

docs/decisions/0019-tasks.md says why this is not a library.
"""
