"""A param that hides its value is refused where it is written."""

from dataclasses import dataclass
from typing import Annotated, TypedDict

import pytest
from pydantic import BaseModel, Field, Secret, SecretBytes, SecretStr

from dama.definitions.secret_types import secret_in
from dama.errors import InvalidDefinitionError


class Login(BaseModel):
    user: str
    password: SecretStr


@dataclass
class Access:
    logins: list[Login]


class Table(TypedDict):
    key: SecretBytes


class Tree(BaseModel):
    children: "list[Tree]" = []


@pytest.mark.parametrize(
    "type_",
    [
        SecretStr, SecretBytes, SecretStr | None, list[SecretStr], dict[str, SecretStr], Login,
        Access, Table, Secret[int], Annotated[SecretStr, Field(min_length=1)], tuple[int, Login],
    ],
)  # fmt: skip
def test_a_secret_is_found_however_deep(type_):
    assert secret_in(type_)


@pytest.mark.parametrize("type_", [str, int | None, list[dict[str, int]], Tree, Table.__class__])
def test_other_types_hold_none(type_):
    assert secret_in(type_) is None


def test_a_task_with_a_secret_param_says_what_to_do():
    from dama import Service

    service = Service("secret")

    @service.task
    async def load(task, password: SecretStr):
        pass

    with pytest.raises(InvalidDefinitionError, match="params are stored") as raised:
        _ = load.params
    assert "env_files" in raised.value.hint
