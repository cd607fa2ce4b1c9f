"""Who acts. It is made from the credential, never from what a request says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.domain.roles import Act, Role, may
from app.models import Account, Token, WebSession
from app.services.errors import ConfirmationRequired, Forbidden

CONFIRMED_FOR = text("interval '10 minutes'")


@dataclass(frozen=True, slots=True)
class Actor:
    """`name` goes on the record. `allow_live` is false for a token that was not made to go live.

    `token_id` or `session_hash` names the credential; the command line has the database itself, and neither.
    `must_change_password` is true of a person whose password another one set, or whose second factor another one
    removed (app/domain/control.py): until they change it they may do nothing else.
    """

    name: str
    role: Role
    request_id: str
    account_id: int | None = None
    allow_live: bool = True
    token_id: str | None = None
    session_hash: bytes | None = None
    must_change_password: bool = False

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

    def require_credential(self, session: Session) -> None:
        """Raises Forbidden when the token has been revoked, the session has ended, or the account was suspended or
        given another role since it was looked up.

        For what may have waited since then. Ending a credential takes the lock on the rules to itself, so within a
        transaction that holds it the answer stands.
        """
        role = select(Account.role).where(Account.suspended_at.is_(None))
        if self.token_id is not None:
            holds = role.join(Token, Token.account_id == Account.id).where(
                Token.id == self.token_id, Token.revoked_at.is_(None)
            )
        elif self.session_hash is not None:
            holds = role.join(WebSession, WebSession.account_id == Account.id).where(
                WebSession.id_hash == self.session_hash
            )
        else:
            return
        if session.scalar(holds) != self.role:
            raise Forbidden(
                "this token has been revoked or suspended, this session has ended, or its role was changed",
                "credential_revoked",
            )

    def require_confirmation(self, session: Session) -> None:
        """Raises ConfirmationRequired when this session's person gave the password more than ten minutes ago.

        For what a stolen session must not do (sudo mode). The command line is not asked.
        """
        if self.session_hash is None:
            return
        recent = WebSession.confirmed_at > func.clock_timestamp() - CONFIRMED_FOR
        if session.scalar(select(recent).where(WebSession.id_hash == self.session_hash)) is not True:
            raise ConfirmationRequired
