"""What Alembic runs: the migrations, on the connection that tasks/storage/database.py has open."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=False,  # the caller's transaction is the only one
)
context.run_migrations()
