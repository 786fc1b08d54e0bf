"""Alembic's migrations; run by `service.jobs.store.migrate` only."""
