"""Measures search: a million segments of two tenants, on SQLite and on PostgreSQL.

`python -m bench.search` prints how long each kind of question takes, and what it costs a job that
its segments can be found.
"""
