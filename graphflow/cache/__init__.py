"""The cache: results of nodes and tasks, kept across runs and threads."""

from graphflow.cache.cache import BaseCache as BaseCache
from graphflow.cache.cache import FullKey as FullKey
from graphflow.cache.cache import InMemoryCache as InMemoryCache
from graphflow.cache.policy import CachePolicy as CachePolicy
from graphflow.cache.policy import default_key as default_key
