"""The tables, one file for each aggregate. Their constraints say what the forms say."""

from app.models.accounts import Account, SignInAttempt, Token, WebSession
from app.models.audit import AuditEvent, AuditSeal
from app.models.config import RiskConfig
from app.models.lockouts import SymbolLockout
from app.models.orders import Order

__all__ = [
    "Account",
    "AuditEvent",
    "AuditSeal",
    "Order",
    "RiskConfig",
    "SignInAttempt",
    "SymbolLockout",
    "Token",
    "WebSession",
]
