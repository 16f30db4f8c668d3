"""Checkpointers that keep threads in a database. Each backend is a module with an extra of its own.

from graphflow_checkpointers.sqlite import SqliteCheckpointer
"""
