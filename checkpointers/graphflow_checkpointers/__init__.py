"""Checkpointers that keep threads in a database. Each backend is a module with an extra of its own.

    from graphflow_checkpointers.sqlite import SqliteCheckpointer
    from graphflow_checkpointers.postgres import PostgresCheckpointer     # graphflow[postgres]
    from graphflow_checkpointers.redis import RedisCheckpointer           # graphflow[redis]
    from graphflow_checkpointers.encryption import EncryptedCheckpointer  # graphflow[encryption]

`Checkpointer.from_url` opens one by its URL (`urls`). Beside them: `sqlite_store.SqliteStore`, what
threads share; `sqlite_cache.SqliteCache` and `redis_cache.RedisCache`, results of nodes and tasks.
"""
