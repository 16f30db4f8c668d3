"""Memory across threads: items under namespaces, found by name, by field or by meaning."""

from graphflow.memory.in_memory import InMemoryStore as InMemoryStore
from graphflow.memory.items import Item as Item
from graphflow.memory.items import SearchItem as SearchItem
from graphflow.memory.items import Value as Value
from graphflow.memory.places import InvalidNamespaceError as InvalidNamespaceError
from graphflow.memory.places import Namespace as Namespace
from graphflow.memory.requests import GetOp as GetOp
from graphflow.memory.requests import ListNamespacesOp as ListNamespacesOp
from graphflow.memory.requests import MatchCondition as MatchCondition
from graphflow.memory.requests import Op as Op
from graphflow.memory.requests import PutOp as PutOp
from graphflow.memory.requests import SearchOp as SearchOp
from graphflow.memory.semantic_index import IndexConfig as IndexConfig
from graphflow.memory.store import BaseStore as BaseStore
