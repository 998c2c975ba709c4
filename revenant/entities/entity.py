"""Entity: a pydantic model whose fields are the state and whose handlers are what messages reach."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, PydanticUndefinedAnnotation, PydanticUserError

from revenant.codec import JSON, MAX_KIND_BYTES
from revenant.entities.durability import DEFAULT_IDLE_SECONDS, Durability, IdleTimeout, durability_of, idle_seconds
from revenant.entities.handler import Handler
from revenant.entities.history import History, history_of
from revenant.entities.lifetime import IdleDelete, idle_delete_of
from revenant.entities.shape import Shape, shape_of
from revenant.errors import ConfigurationError

if TYPE_CHECKING:
    from revenant.entities.context import Turn

_RESERVED = ("key", "turn")
COPY_OF = "revenant:copy_of"
"""Where a copy of a committed state has its key: in its `__dict__`, under a name that no field can have, so that it is
equal to any other of the same state."""


class Entity(BaseModel):
    """The base of what a user writes.

    Class keywords: `kind` (str, default the class's name) and `vsn` (int, default 1: raise it when the shape of
    the state changes, and write `upgrade`). `durability` is "strict" (the default: written before the reply),
    `Interval(seconds=…)` or "on_stop"; `idle_timeout` (seconds, a timedelta, or None for never; default 300) is
    after how long without a message an entity leaves memory. `idle_delete` (a timedelta, or None for
    never, the default) is after how long without a message it is deleted. `history` (a timedelta, or None for
    none, the default) is how long each version of the state is kept. A subclass inherits these four.

    Example:
        >>> class Account(Entity, kind="account", vsn=1):
        ...     balance: int = 0
        ...
        ...     @handler
        ...     async def deposit(self, amount: int) -> int:
        ...         self.balance += amount
        ...         return self.balance
    """

    model_config = ConfigDict(ignored_types=(Handler,), validate_assignment=True, **JSON)

    entity_kind: ClassVar[str] = "Entity"
    entity_vsn: ClassVar[int] = 1
    entity_handlers: ClassVar[dict[str, Handler[..., Any]]] = {}
    entity_shape: ClassVar[Shape] = Shape()
    entity_durability: ClassVar[Durability] = "strict"
    entity_idle_seconds: ClassVar[float | None] = DEFAULT_IDLE_SECONDS
    entity_idle_delete: ClassVar[timedelta | None] = None
    entity_history: ClassVar[timedelta | None] = None

    # A slot, since pydantic pays for a private attribute whenever it reads a state.
    __slots__ = ("_turn",)
    if TYPE_CHECKING:
        _turn: Turn | None

    def __init_subclass__(
        cls,
        *,
        kind: str | None = None,
        vsn: int = 1,
        durability: Durability | None = None,
        idle_timeout: IdleTimeout = ...,
        idle_delete: IdleDelete = ...,
        history: History = ...,
        **kwargs: Any,
    ) -> None:
        # Python hands the class keywords to this method too, where `object` refuses them; pydantic's reads them.
        super().__init_subclass__(**kwargs)

    @classmethod
    def __pydantic_init_subclass__(
        cls,
        *,
        kind: str | None = None,
        vsn: int = 1,
        durability: Durability | None = None,
        idle_timeout: IdleTimeout = ...,
        idle_delete: IdleDelete = ...,
        history: History = ...,
        **kwargs: Any,
    ) -> None:
        """Read the class keywords and collect the handlers."""
        super().__pydantic_init_subclass__(**kwargs)
        taken = [name for name in _RESERVED if name in cls.model_fields]
        if "_turn" in cls.__private_attributes__:
            raise ConfigurationError(
                f"{cls.__qualname__} has a private attribute named '_turn', where every entity keeps its turn. "
                "Name the attribute otherwise."
            )
        if taken:
            raise ConfigurationError(
                f"{cls.__qualname__} has a field named {taken[0]!r}, which every entity has already: "
                "self.key is the entity's key and self.turn the turn. Name the field otherwise."
            )
        cls.entity_kind = cls.__name__ if kind is None else kind
        size = len(cls.entity_kind.encode(errors="replace"))
        if not cls.entity_kind or "\0" in cls.entity_kind or size > MAX_KIND_BYTES:
            raise ConfigurationError(
                f"The kind {cls.entity_kind!r} of {cls.__qualname__} must be text of 1 to {MAX_KIND_BYTES} bytes."
            )
        if vsn < 1:
            raise ConfigurationError(f"{cls.__qualname__} has vsn={vsn}; versions of the state count from 1.")
        cls.entity_vsn = vsn
        cls.entity_durability = durability_of(cls.__qualname__, durability, cls.entity_durability)
        cls.entity_idle_seconds = idle_seconds(cls.__qualname__, idle_timeout, cls.entity_idle_seconds)
        cls.entity_history = history_of(cls.__qualname__, history, cls.entity_history)
        cls.entity_idle_delete = idle_delete_of(cls.__qualname__, idle_delete, cls.entity_idle_delete)
        _check_hook(cls)
        _check_initial(cls)
        for name in cls.entity_handlers:
            if not isinstance(inspect.getattr_static(cls, name), Handler):
                raise ConfigurationError(
                    f"{cls.__qualname__}.{name} overrides a handler without being one, so messages would reach the "
                    "parent's. Mark it with @handler, or name it otherwise."
                )
        cls.entity_handlers = {
            name: value
            for base in reversed(cls.__mro__)
            for name, value in vars(base).items()
            if isinstance(value, Handler)
        }
        # What names classes that are defined later is looked at when the application is put together.
        cls.entity_shape = readable_shape(cls) if cls.__pydantic_complete__ else Shape(unsure=True)

    @classmethod
    def initial(cls, key: str) -> Self:  # subclasses use the key
        """Return the state of an entity that has none yet; override it to start otherwise than by the defaults."""
        return cls()

    @classmethod
    def upgrade(cls, vsn: int, state: dict[str, Any]) -> dict[str, Any]:
        """Return the state that version `vsn` wrote, raw, as version `vsn + 1` writes it; called once per step."""
        raise NotImplementedError(
            f"{cls.__qualname__} is at vsn {cls.entity_vsn}, the stored state at {vsn}: write `upgrade(vsn, state)`."
        )

    async def passivate(self) -> None:
        """Run before an entity that is not strict leaves memory; what it changes and casts belongs to that flush."""

    @property
    def key(self) -> str:
        """The entity's key."""
        return vars(self).get(COPY_OF) or self.turn.key

    @property
    def turn(self) -> Turn:
        """The turn that is running: only inside a handler."""
        if COPY_OF in vars(self):
            raise ConfigurationError(
                f"This is a copy of the committed state of {self.entity_kind}({self.key!r}), to look at: what its "
                f"handlers do to it is kept nowhere. Send a message: app.ref({type(self).__qualname__}, …)."
            )
        turn: Turn | None = getattr(self, "_turn", None)
        if turn is None:
            raise ConfigurationError(
                f"self.turn and self.key exist while a handler of {type(self).__qualname__} runs, and not outside one."
            )
        return turn


def set_turn(entity: Entity, turn: Turn | None) -> None:
    """Begin or end a handler's use of an entity; straight into the slot, past what pydantic does for a field."""
    object.__setattr__(entity, "_turn", turn)


def _check_hook(definition: type[Entity]) -> None:
    hook = inspect.getattr_static(definition, "passivate")
    if isinstance(hook, Handler) or not inspect.iscoroutinefunction(hook):
        raise ConfigurationError(
            f"{definition.__qualname__}.passivate is the hook of an entity that leaves memory, and must be a plain "
            "`async def passivate(self)`. Write it so, or name yours otherwise."
        )
    if definition.entity_durability == "strict" and hook is not inspect.getattr_static(Entity, "passivate"):
        raise ConfigurationError(
            f"{definition.__qualname__} has a hook `passivate`, which would never run: a strict entity is written "
            "before each reply, and what a worker keeps of it is a copy. Remove the hook, or choose another one: "
            f"class {definition.__qualname__}(Entity, durability=Interval(seconds=…))."
        )


def _check_initial(definition: type[Entity]) -> None:
    first = inspect.getattr_static(definition, "initial")
    plain = isinstance(first, classmethod | staticmethod) and not isinstance(first.__func__, Handler)
    if not plain or inspect.iscoroutinefunction(first.__func__):
        raise ConfigurationError(
            f"{definition.__qualname__}.initial is the hook that returns the state of an entity that has none yet, and "
            "must be a plain class method: `@classmethod`, then `def initial(cls, key: str) -> Self`. Write it so, or "
            "name yours otherwise."
        )


def readable_shape(definition: type[Entity]) -> Shape:
    """Return the shape of the class's state.

    Raises:
        ConfigurationError: a field would not come back as it was written, or names a type that does not exist.
    """
    try:
        definition.model_rebuild()
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        raise ConfigurationError(
            f"The fields of {definition.__qualname__} cannot be read: {' '.join(str(error).split())[:300]} "
            "Define or import their types at module level, outside `if TYPE_CHECKING`."
        ) from error
    shape = shape_of(definition.__pydantic_core_schema__, definition.__qualname__)
    # The entity itself is always of its very class.
    shape.parts.discard(definition)
    flaws = shape.flaws + shape.iterators
    if flaws:
        raise ConfigurationError(
            f"{flaws[0]}: it would not come back. The state of an entity is what is stored as JSON and read "
            "again. Write a field under a name by which it is read (validation_alias=AliasChoices(…)) and as what it "
            "is (@field_serializer); what is not state belongs into a private attribute."
        )
    return shape
