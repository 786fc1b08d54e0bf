"""Runs migrations on the connection that `service.jobs.store.migrate` hands over."""

from alembic import context

from service.jobs.records import Record

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Record.metadata,
    # SQLite changes tables by copying them; harmless elsewhere.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
