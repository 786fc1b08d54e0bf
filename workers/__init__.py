"""Execution: supervisor, Celery tasks, engine, leases, sweeper."""
