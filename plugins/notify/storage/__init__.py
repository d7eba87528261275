"""The outbox in PostgreSQL: its tables and every way to change them."""
