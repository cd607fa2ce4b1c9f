"""The tables, one file for each aggregate. Their constraints say what the forms say."""

from app.models.accounts import Account, SignInAttempt, SignInStep, Token, WebSession
from app.models.audit import AuditEvent, AuditSeal
from app.models.lockouts import SymbolLockout
from app.models.notifications import Notice, NoticeReceiver
from app.models.orders import Order
from app.models.risk_config import RiskConfig
from app.models.two_factor import RecoveryCode, SecondFactor, SecondFactorTry

__all__ = [
    "Account",
    "AuditEvent",
    "AuditSeal",
    "Notice",
    "NoticeReceiver",
    "Order",
    "RecoveryCode",
    "RiskConfig",
    "SecondFactor",
    "SecondFactorTry",
    "SignInAttempt",
    "SignInStep",
    "SymbolLockout",
    "Token",
    "WebSession",
]
