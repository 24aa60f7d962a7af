"""Actions and event handlers: what a service answers at once, and what it listens to.

The first parameter of a function is the call; the others are the params, validated as those of
tasks are. An action without further parameters takes any params, and finds them in `call.params`.
Definitions belong to no service yet, so that a part can be used by several.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar, final, get_args

from dama.definitions.docstring import Docstring, parse_docstring
from dama.definitions.errors import InvalidParamsError, ParamProblem
from dama.definitions.params import arguments_of, optional_names, params_model, validate_params
from dama.definitions.policies import BreakerPolicy, BulkheadPolicy, CachePolicy, RetryPolicy
from dama.definitions.result import ResultType
from dama.definitions.signature import annotations_of, params_of, read_signature, refuse_task
from dama.definitions.written import Written
from dama.errors import InvalidDefinitionError
from dama.shapes import Json, is_collection, is_dict, is_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel, TypeAdapter

    from dama.config.duration import Duration

R = TypeVar("R")

Visibility = Literal["published", "public", "protected", "private"]
SCOPES = ("viewer", "operator", "admin")
ABSENT_FALLBACK = object()


class ActionSettings(TypedDict, total=False):
    """What may be written in `@service.action(...)`; see `ActionOptions`."""

    visibility: Visibility
    timeout: Duration | None
    retries: int | RetryPolicy | None
    breaker: BreakerPolicy | bool | None
    bulkhead: BulkheadPolicy | bool | None
    cache: CachePolicy | bool
    fallback: Any
    rest: str | Sequence[str] | None
    status: int
    response_type: str | None
    scope: str | None
    before: Callable[..., Any] | Sequence[Callable[..., Any]]
    after: Callable[..., Any] | Sequence[Callable[..., Any]]
    on_error: Callable[..., Any] | Sequence[Callable[..., Any]]
    metadata: Mapping[str, Json]


@dataclass(frozen=True)
class ActionOptions:
    """How an action is called.

    Attributes:
        visibility: Who may call it: "published" everybody, also over HTTP; "public" all services of
            all nodes; "protected" those of its node; "private" its own service.
        timeout: Seconds that a call may take; None for that of the broker.
        retries: Further tries of a call that failed in a way that may pass; None for the broker's.
        breaker: When a node gets no calls of it for a while; None for the broker's.
        bulkhead: How many calls run at once on a node; None for the broker's.
        cache: How results are kept; None for not at all.
        fallback: What to answer instead of an error: a value, or a function of the call and error.
        rest: Its routes over HTTP, such as "GET /flights/:id"; without one only its name.
        status: Of its answers over HTTP, when it did what it should.
        response_type: The Content-Type of its answers; None for JSON, or bytes for streams.
        scope: What a token must allow: viewer, operator or admin; None for operator.
        before: Called with the call before the action.
        after: Called with the call and the result; what they return is the result.
        on_error: Called with the call and the error; what they return is the result, and they may
            raise.
        metadata: Json JSON, which other nodes see.
    """

    visibility: Visibility = "published"
    timeout: float | None = None
    retries: RetryPolicy | None = None
    breaker: BreakerPolicy | None = None
    bulkhead: BulkheadPolicy | None = None
    cache: CachePolicy | None = None
    fallback: Any = ABSENT_FALLBACK
    rest: tuple[str, ...] = ()
    status: int = 200
    response_type: str | None = None
    scope: str | None = None
    before: tuple[Callable[..., Any], ...] = ()
    after: tuple[Callable[..., Any], ...] = ()
    on_error: tuple[Callable[..., Any], ...] = ()
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Any])


@final
class ActionDefinition(Generic[R]):
    """An action: a callable that is answered at once.

    Attributes:
        name: Within its service, such as `add`.
        function: What was decorated; its first parameter is the call.
        options: How it is called.
    """

    def __init__(self, name: str, function: Callable[..., object], options: ActionOptions) -> None:
        self.name = name
        self.function = function
        self.options = options
        self.takes_any = not params_of(name, function, "`call: Call`")
        refuse_task(f"the action {name}", function)

    @property
    def is_async(self) -> bool:
        """Whether the function is an `async def` or an asynchronous generator."""
        return inspect.iscoroutinefunction(self.function) or self.is_stream

    @property
    def is_stream(self) -> bool:
        """Whether the function yields chunks, which go to the caller as a stream."""
        return inspect.isasyncgenfunction(self.function)

    @property
    def gives_nothing(self) -> bool:
        """Whether its annotation says that it never returns a result."""
        annotation = read_signature(self.function).return_annotation
        return annotation is None or annotation == "None"

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring, on one line."""
        return self._docstring.summary

    @property
    def description(self) -> str:
        """The paragraphs of the docstring after the summary, up to the first section."""
        return self._docstring.description

    @cached_property
    def params(self) -> type[BaseModel]:
        """The model of the params.

        Raises:
            InvalidDefinitionError: An annotation is not a type that can be validated.
        """
        return params_model(self.name, self.function, self._docstring.params)

    @cached_property
    def result(self) -> ResultType[R]:
        """The type of the result."""
        return ResultType(self.name, self.function)

    @cached_property
    def _docstring(self) -> Docstring:
        return parse_docstring(self.function.__doc__)

    def arguments(self, params: object, full_name: str | None = None) -> dict[str, Any]:
        """Validate params; return them as keyword arguments of the function.

        Args:
            params: What was given.
            full_name: With the service, for errors.

        Raises:
            InvalidParamsError: With every problem there is.
        """
        name = full_name or self.name
        values: object = {} if params is None else params
        if not is_dict(values):
            problem = ParamProblem("params", "", "should be an object", "dict_type", values)
            raise InvalidParamsError(name, [problem])
        try:
            return arguments_of(validate_params(name, self.params, values))
        except InvalidParamsError as error:
            # Callers in JavaScript send null for what they leave out.
            optional = optional_names(self.params)
            wrong = {problem.name for problem in error.problems} & optional
            given = {k: v for k, v in values.items() if v is not None or k not in wrong}
            if len(given) == len(values):
                raise
        return arguments_of(validate_params(name, self.params, given))


@final
class EventHandler:
    """A handler of broker events.

    Attributes:
        pattern: The names of its events, such as `order.*`.
        group: Of several nodes with the group one gets an event that is emitted; None for the name
            of the service.
        function: What was decorated: it takes the call, and the payload if it likes.
    """

    def __init__(self, pattern: str, group: str | None, function: Callable[..., object]) -> None:
        self.pattern = pattern
        self.group = group
        self.function = function
        named = params_of(f"the handler of {pattern}", function, "`call: Call`")
        refuse_task(f"the handler of {pattern}", function)
        if len(named) > 1:
            raise InvalidDefinitionError(
                f"The handler of {pattern} takes {len(named)} things besides the call.",
                "Write def handler(call, payload); the payload may be of any type.",
            )
        self.payload_name = next(iter(named), None)

    @property
    def name(self) -> str:
        """The name of the function."""
        return getattr(self.function, "__name__", repr(self.function))

    @cached_property
    def payload_type(self) -> TypeAdapter[Any] | None:
        """What validates the payload; None when it is taken as it comes."""
        if self.payload_name is None:
            return None
        annotation = read_signature(self.function).parameters[self.payload_name].annotation
        types = annotations_of(self.name, self.function, {self.payload_name: annotation})
        if types.get(self.payload_name, Any) is Any:
            return None
        from pydantic import TypeAdapter

        return TypeAdapter(types[self.payload_name])


def read_action(name: str, settings: ActionSettings) -> ActionOptions:
    """Check the settings of an action.

    Raises:
        InvalidDefinitionError: One is unknown or makes no sense; the action is named.
    """
    known = [each.name for each in fields(ActionOptions)]
    written = Written(f"The action {name}", settings, known)
    rest = written.get("rest")
    return ActionOptions(
        visibility=written.choice("visibility", get_args(Visibility), "published"),
        timeout=written.optional_duration("timeout"),
        retries=_retries(written),
        breaker=_policy(BreakerPolicy, written, "breaker"),
        bulkhead=_policy(BulkheadPolicy, written, "bulkhead"),
        cache=_policy(CachePolicy, written, "cache"),
        fallback=written.get("fallback", ABSENT_FALLBACK),
        rest=(rest,) if isinstance(rest, str) else written.strings("rest") if rest else (),
        status=written.number("status", 200, 100),
        response_type=written.text("response_type", None),
        scope=written.choice("scope", SCOPES),
        before=_hooks(written, "before"),
        after=_hooks(written, "after"),
        on_error=_hooks(written, "on_error"),
        metadata=written.mapping("metadata"),
    )


def _retries(written: Written) -> RetryPolicy | None:
    value = written.get("retries")
    if value is None or isinstance(value, RetryPolicy):
        return value
    if not is_whole(value) or value < 0:
        written.wrong("retries", "a whole number, at least 0, or a RetryPolicy")
    return RetryPolicy(retries=value)


def _hooks(written: Written, name: str) -> tuple[Callable[..., Any], ...]:
    hooks = as_hooks(written.get(name))
    if not all(map(callable, hooks)):
        written.wrong(name, "a function, or several")
    return hooks


def retry_policy(value: int | RetryPolicy | None) -> RetryPolicy | None:
    """A number of further tries as a policy."""
    return RetryPolicy(retries=value) if isinstance(value, int) else value


def as_hooks(value: Callable[..., Any] | Sequence[Callable[..., Any]] | None) -> tuple[Any, ...]:
    """One hook, several or none, as a tuple."""
    if value is None:
        return ()
    if is_collection(value):
        return tuple(value)
    return (value,)


P = TypeVar("P")


def _policy(kind: type[P], written: Written, name: str) -> P | None:
    """True is a policy with its defaults, False is none."""
    value = written.get(name)
    if isinstance(value, bool) or value is None:
        return kind() if value else None
    return value if isinstance(value, kind) else written.wrong(name, f"True or a {kind.__name__}")
