"""Who acts. It is made from the credential, never from what a request says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from app.desk.errors import Forbidden
from app.domain.roles import Act, Role, may


@dataclass(frozen=True, slots=True)
class Actor:
    """`name` goes on the record. `allow_live` is false for a token that was not made to go live."""

    name: str
    role: Role
    request_id: str
    account_id: int | None = None
    allow_live: bool = True

    @property
    def is_engine(self) -> bool:
        """Whether this actor sees its own orders only."""
        return self.role is Role.ENGINE

    def may(self, act: Act) -> bool:
        return may(self.role, act) and (act is not Act.GO_LIVE or self.allow_live)

    def require(self, act: Act, detail: str) -> None:
        """Raises Forbidden with `detail` unless this actor may do `act`."""
        if not self.may(act):
            raise Forbidden(detail)
