"""Which classes the codec may store and make: a table that only code fills, never bytes.

    @storable("shop.Order")                 # or plain @storable: the tag is "module.ClassName"
    @dataclass
    class Order: ...

    @upcast("shop.Order", 1)                # how version 1 reads today, with version=2 above
    def _(fields): return fields | {"currency": "EUR"}

An object is stored as `[tag, version, data]`. Reading looks the tag up here and nowhere else: a tag
that no code of this process registered is an error, whatever module it may look like.

A class that is defined again (a notebook cell that ran twice) takes over the tag; instances of the
class before it can still be stored. Two different classes under one tag are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

from graphflow.checkpoint.codec_errors import (
    CodecError,
    CorruptData,
    NotStorable,
    UnknownType,
    type_name,
)
from graphflow.checkpoint.field_forms import CompactDataclassForm, Form
from graphflow.checkpoint.msgpack_pure import packb
from graphflow.checkpoint.stored_forms import HookForm, form_of

Pack = Callable[[Any], bytes]
Write = Callable[[Any, Pack], bytes]
Upcast = Callable[[Any], Any]
AnyClass = TypeVar("AnyClass", bound=type)

REGISTERED = 64
"""The extension code of objects that carry their tag."""
OWN_CODES = range(65, 128)
"""Codes for graphflow's own records, which then need no tag."""


@dataclass(slots=True)
class Entry:
    """A registered class: what it is called in bytes, and the form of its instances."""

    kind: type
    tag: str
    version: int
    form: Form
    code: int = REGISTERED
    upcasts: dict[int, Upcast] = field(default_factory=dict)
    """By the version they start from; shared by all classes that had the tag."""

    def writer(self) -> Write:
        """Return what writes the payload of an instance; the unchanging part is packed once."""
        head = [self.tag, self.version] if self.code == REGISTERED else [self.version]
        plain, prefix = self.form.plain, b"".join(map(packb, head))
        prefix = bytes((0x90 | len(head) + 1,)) + prefix
        return lambda value, pack: prefix + pack(plain(value))

    def make(self, version: Any, data: Any) -> Any:
        """Make the instance that was stored as `data` by some version of the class."""
        if version != self.version:
            data = self.form.migrate(data, self.steps(version))
        return self.form.build(data)

    def steps(self, version: Any) -> list[Upcast]:
        """Return the upcasts from an older version to the present one."""
        if type(version) is not int:
            raise CorruptData(f"{self.tag!r} has the version {version!r}")
        if version > self.version:
            raise UnknownType(
                f"{self.tag!r} was stored as version {version}, this process has {self.version}: "
                f"run the code that wrote it, or newer"
            )
        for missing in range(version, self.version):
            if missing not in self.upcasts:
                raise UnknownType(
                    f"{self.tag!r} was stored as version {version}, this process has "
                    f'{self.version}: write @upcast("{self.tag}", {missing})'
                )
        return [_named(self.tag, n, self.upcasts[n]) for n in range(version, self.version)]


def _named(tag: str, version: int, upcast: Upcast) -> Upcast:
    def step(data: Any) -> Any:
        try:
            return upcast(data)
        except Exception as error:
            raise CodecError(f"the upcast of {tag!r} from version {version} failed") from error

    return step


class Registry:
    """The classes known to one codec, by type for writing and by tag for reading."""

    def __init__(self) -> None:
        """Start empty; the codec adds the built-in types when it is first used."""
        self.writers: dict[type, tuple[int, Write]] = {}
        self.makers: dict[int, Callable[[Any], Any]] = {REGISTERED: self._make}
        """By extension code: what makes a value of its unpacked payload."""
        self._by_type: dict[type, Entry] = {}
        self._by_tag: dict[str, Entry] = {}
        self._by_code: dict[int, Entry] = {}
        self._upcasts: dict[str, dict[int, Upcast]] = {}

    def __contains__(self, kind: object) -> bool:
        """Tell whether instances of exactly this class can be stored by registration."""
        return kind in self._by_type

    def __iter__(self) -> Iterator[tuple[str, int, type]]:
        """Yield tag, version and class of everything that can be read."""
        return iter([(entry.tag, entry.version, entry.kind) for entry in self._by_tag.values()])

    def register(
        self,
        kind: type,
        tag: str | None = None,
        version: int = 1,
        *,
        dump: Callable[[Any], Any] | None = None,
        load: Callable[[Any], Any] | None = None,
        code: int = REGISTERED,
        omit_defaults: bool = False,
    ) -> None:
        """Let instances of exactly this class be stored under the tag.

        Args:
            kind: A dataclass, pydantic model, enumeration, named tuple or subclass of a built-in;
                any class if `dump` and `load` are given.
            tag: What the bytes call it; by default its module and qualified name.
            version: Raise it when stored fields change meaning, and write an `upcast`.
            dump: Turns an instance into storable data.
            load: Turns that data into an equal instance. It runs when a checkpoint is read.
            code: An own extension code, for graphflow's records only.
            omit_defaults: Leave out fields that equal their default. Only for classes whose
                defaults never change within a version.

        Raises:
            NotStorable: There is no telling what an instance holds.
            ValueError: The tag or code belongs to another class.
        """
        name = tag or type_name(kind)
        form = _form(kind, dump, load, omit_defaults)
        self._refuse_taken(name, code, kind)
        entry = Entry(kind, name, version, form, code, self._upcasts.setdefault(name, {}))
        self._by_type[kind] = self._by_tag[name] = entry
        self.writers[kind] = (code, entry.writer())
        if code != REGISTERED:
            self._by_code[code] = entry
            self.makers[code] = lambda data: _make_coded(entry, data)

    def upcast(self, tag: str, version: int, function: Upcast) -> None:
        """Use the function to turn data of this version into data of the next."""
        self._upcasts.setdefault(tag, {})[version] = function

    def form(self, kind: type) -> Form | None:
        """Return the form of a registered class."""
        entry = self._by_type.get(kind)
        return entry.form if entry else None

    def _make(self, data: Any) -> Any:
        tag, version, content = data
        entry = self._by_tag.get(tag)
        if entry is None:
            raise UnknownType(
                f"no class is registered as {tag!r}: import the module that defines it, or put "
                f'@storable("{tag}") on the class that took its place'
            )
        return entry.make(version, content)

    def _refuse_taken(self, tag: str, code: int, kind: type) -> None:
        if code != REGISTERED and code not in OWN_CODES:
            raise ValueError(f"the code {code} is not one of {OWN_CODES}")
        for other in (self._by_tag.get(tag), self._by_code.get(code)):
            if other is not None and not _is_redefinition(other.kind, kind):
                raise ValueError(
                    f"{tag!r} cannot name {type_name(kind)}: {other.tag!r} stands for "
                    f"{type_name(other.kind)}"
                )


def _is_redefinition(old: type, new: type) -> bool:
    """Tell whether the two come from one class statement, run twice or under two module names."""
    is_script = {old.__module__, new.__module__} & {"__main__", "__mp_main__"}
    same_module = old.__module__ == new.__module__ or bool(is_script)
    return same_module and old.__qualname__ == new.__qualname__


def _make_coded(entry: Entry, data: Any) -> Any:
    version, content = data
    return entry.make(version, content)


def _form(kind: type, dump: Any, load: Any, omit_defaults: bool) -> Form:
    if (dump is None) != (load is None):
        raise TypeError("dump= and load= go together")
    if dump is not None:
        return HookForm(kind, dump, load)
    form = CompactDataclassForm(kind) if omit_defaults else form_of(kind)
    if form is None:
        raise NotStorable(
            f"{type_name(kind)} is not a dataclass, pydantic model, enumeration or named tuple: "
            f"put @storable above @dataclass, or pass dump= and load="
        )
    return form


registry = Registry()
"""The one that `storable`, `upcast` and the default codec use."""


@overload
def storable(tag: AnyClass, /) -> AnyClass: ...


@overload
def storable(
    tag: str | None = None,
    version: int = 1,
    *,
    dump: Callable[[Any], Any] | None = None,
    load: Callable[[Any], Any] | None = None,
    code: int = REGISTERED,
    omit_defaults: bool = False,
) -> Callable[[AnyClass], AnyClass]: ...


def storable(tag: Any = None, version: int = 1, **options: Any) -> Any:
    """Let instances of the decorated class be stored; see `Registry.register`.

    Put it above `@dataclass`. Plain `@storable` uses module and name of the class as tag; give a
    tag of your own to be free to move and rename the class later.
    """
    if isinstance(tag, type):
        registry.register(tag)
        return tag

    def decorate(kind: AnyClass) -> AnyClass:
        registry.register(kind, tag, version, **options)
        return kind

    return decorate


def upcast(tag: str, version: int) -> Callable[[Upcast], Upcast]:
    """Decorate the function that turns stored data of `version` into data of `version + 1`.

    It gets the fields as a dict (an enumeration's member as its name, else what `dump` gave) and
    runs when such data is read; what is stored stays as it is.
    """

    def decorate(function: Upcast) -> Upcast:
        registry.upcast(tag, version, function)
        return function

    return decorate
