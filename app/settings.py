"""The environment, read once into one frozen object. What cannot be used stops the start with one line."""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import limits
import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.domain.control import SelfApproval
from app.domain.notifications import Kind

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent  # where the tree is; where it was installed from a wheel, the folder of all packages
MIN_SECRET_LENGTH = 16
MOST_OF_A_RATE, LONGEST_RATE = 1_000_000, 86_400  # requests, seconds
LIVE_VENUE_CREDENTIALS = ("ALPACA_LIVE_KEY_ID", "ALPACA_LIVE_SECRET_KEY")
# As Apprise splits them: an address may have a comma in it.
BETWEEN_ADDRESSES = re.compile(r"[\s,]+(?=[A-Za-z0-9]{1,32}://)")
ADDRESS = re.compile(r"[A-Za-z0-9]{1,32}://\S+")
MOST_ADDRESSES = 10
LOG_FORMATS = ("json", "console")
LOG_LEVELS = ("debug", "info", "warning", "error")
ALPACA_URLS = {"paper": "https://paper-api.alpaca.markets", "live": "https://api.alpaca.markets"}


def shipped(name: str) -> Path:
    """What stands beside the package in the tree; a wheel has it inside."""
    inside = PACKAGE / name
    return inside if inside.exists() else PROJECT / name


def server_folder() -> Path:
    """The folder with wsgi.py and gunicorn.conf.py, from which gunicorn finds both: the project's root, or
    `app/deploy` in a wheel. No other module is in the latter, so it can go on the module search path."""
    in_wheel = PACKAGE / "deploy"
    return in_wheel if in_wheel.is_dir() else PROJECT


class SettingsError(RuntimeError):
    """A setting that cannot be used; the message is one line that names it."""


@dataclass(frozen=True, slots=True)
class AlpacaAccount:
    """An account at Alpaca; `url` is where its API is, less the version, and `stream_url` where its stream is."""

    key_id: str
    secret_key: str = field(repr=False)
    url: str
    stream_url: str = ""

    def __post_init__(self) -> None:
        if not self.stream_url:  # beside the API, where it is for all accounts at Alpaca
            object.__setattr__(self, "stream_url", f"ws{self.url.removeprefix('http')}/stream")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says.

    `database_url` is None when the embedded PostgreSQL is to be used; `migration_url` may name another role
    that owns the tables. `trusted_proxies` counts the proxies in front whose X-Forwarded-* headers are true.
    `alpaca` has the accounts that orders are sent to, by trading mode: a released order is sent within
    `send_within` seconds or not at all, and a request to the venue takes at most `venue_patience` seconds.
    `notify_urls` are addresses as Apprise writes them, with their secrets in them; `notify_before_expiry` is in
    seconds. `public_url` is where people reach the desk. `metrics_token` is what a monitor shows to read /metrics
    from another machine; without a `log_format` it is found out what suits.
    `self_approval` says whether the only person who may approve may approve their own engines' orders.
    `read_rate` bounds the reads of a credential and `failed_credential_rate` the wrong tokens of an address, each
    in one worker; None is no bound.
    """

    database_url: URL | None
    migration_url: URL | None
    secret_key: str | None
    host: str
    port: int
    workers: int
    instance: Path
    trusted_proxies: int
    alpaca: Mapping[str, AlpacaAccount] = field(default_factory=dict)
    send_within: int = 60
    venue_patience: int = 10
    notify_urls: tuple[str, ...] = field(default=(), repr=False)
    notify_events: frozenset[Kind] = frozenset(Kind)
    notify_before_expiry: int = 300
    public_url: str | None = None
    metrics_token: str | None = field(default=None, repr=False)
    log_format: str | None = None
    log_level: str = "info"
    read_rate: limits.RateLimitItem | None = None
    failed_credential_rate: limits.RateLimitItem | None = None
    self_approval: SelfApproval = SelfApproval.NEVER

    @property
    def secrets(self) -> list[str]:
        """What is never to be read in a log."""
        given = [self.secret_key, self.metrics_token]
        given += [url.password for url in (self.database_url, self.migration_url) if url is not None]
        given += [half for account in self.alpaca.values() for half in (account.key_id, account.secret_key)]
        given += self.notify_urls
        return [secret for secret in given if secret]

    @property
    def warnings(self) -> list[str]:
        """What can be used but should not stay so.

        Nothing hangs on SECRET_KEY alone: sessions have random ids, marks of browsers are counted together, and
        secrets of second factors are read by whoever has it and the database.
        """
        if self.secret_key is not None and len(self.secret_key) < MIN_SECRET_LENGTH:
            return [f"SECRET_KEY is short: give it at least {MIN_SECRET_LENGTH} random characters"]
        return []

    @property
    def embedded(self) -> bool:
        return self.database_url is None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Raises SettingsError for the first setting that is wrong. Empty counts as unset."""
        given = {name: value.strip() for name, value in environment.items() if value.strip()}
        settings = cls(
            database_url=_postgresql(given, "DATABASE_URL"),
            migration_url=_postgresql(given, "MIGRATION_DATABASE_URL"),
            secret_key=given.get("SECRET_KEY"),
            host=given.get("HOST", "127.0.0.1"),
            port=_number(given, "PORT", 8000, 1, 65_535),
            workers=_number(given, "WEB_CONCURRENCY", 2, 1, 256),
            instance=_instance(given),
            trusted_proxies=_number(given, "TRUSTED_PROXIES", 0, 0, 10),
            alpaca={mode: account for mode in ALPACA_URLS if (account := _alpaca(given, mode))},
            send_within=_number(given, "SEND_WITHIN", 60, 1, 3600),
            venue_patience=_number(given, "VENUE_PATIENCE", 10, 1, 60),
            notify_urls=_notify_urls(given),
            notify_events=_notify_events(given),
            notify_before_expiry=_number(given, "NOTIFY_BEFORE_EXPIRY", 300, 10, 86_400),
            public_url=_public_url(given),
            metrics_token=_metrics_token(given),
            log_format=_word(given, "LOG_FORMAT", LOG_FORMATS),
            log_level=_word(given, "LOG_LEVEL", LOG_LEVELS) or "info",
            read_rate=_rate(given, "READ_RATE", "2000/10 seconds"),
            failed_credential_rate=_rate(given, "FAILED_CREDENTIAL_RATE", "300/minute"),
            self_approval=_self_approval(given),
        )
        settings._check(given)
        return settings

    def _check(self, given: Mapping[str, str]) -> None:
        if self.embedded:
            self._check_for_trying_out(given)
        elif self.secret_key is None:
            raise SettingsError("SECRET_KEY is required when DATABASE_URL is set")
        for mode in ALPACA_URLS:
            halves = [f"ALPACA_{mode.upper()}_{half}" for half in ("KEY_ID", "SECRET_KEY")]
            missing = [name for name in halves if name not in given]
            if len(missing) == 1:
                raise SettingsError(f"{missing[0]} is missing: the two halves of the key belong together")

    def _check_for_trying_out(self, given: Mapping[str, str]) -> None:
        # A lost DATABASE_URL must never bring up an empty desk that approves everything.
        if self.migration_url is not None:
            raise SettingsError("MIGRATION_DATABASE_URL is set, but DATABASE_URL is not")
        if not _is_loopback(self.host):
            raise SettingsError(
                f"DATABASE_URL is not set, and the embedded database serves this machine only:"
                f" HOST must be a loopback address, not {self.host}"
            )
        for name in LIVE_VENUE_CREDENTIALS:
            if name in given:
                raise SettingsError(
                    f"{name} is set, but DATABASE_URL is not:"
                    " the embedded database is for trying out and never trades live"
                )

    def session_secret(self) -> str:
        """SECRET_KEY, or the one that is made once and kept in the instance folder."""
        return self.secret_key or _kept_secret(self.instance / "secret_key")


def _postgresql(given: Mapping[str, str], name: str) -> URL | None:
    text = given.get(name)
    if text is None:
        return None
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise SettingsError(f"{name} must begin with postgresql://: PostgreSQL is the only database supported")
    try:
        if "," in text:
            return _several_hosts(f"postgresql://{rest}")
        return make_url(f"postgresql+psycopg://{rest}")
    except (ArgumentError, ValueError, psycopg.Error):
        raise SettingsError(f"{name} cannot be read as a URL") from None


def _several_hosts(text: str) -> URL:
    """A primary and its standbys, as libpq writes them: postgresql://user@a:5432,b:5432/name.

    Whoever connects takes the first that can be written to: on a standby nothing could be decided.
    """
    parts = {"port": ""} | {key: str(value) for key, value in conninfo_to_dict(text).items()}
    url = URL.create(
        "postgresql+psycopg",
        username=parts.pop("user", None),
        password=parts.pop("password", None),
        database=parts.pop("dbname", None),
    )
    if not all(port.isdigit() for port in parts["port"].split(",") if port):
        raise ValueError
    if not parts["port"].strip(","):
        del parts["port"]
    if "," in parts.get("host", ""):
        parts.setdefault("target_session_attrs", "read-write")
    return url.set(query=parts)


def _alpaca(given: Mapping[str, str], mode: str) -> AlpacaAccount | None:
    """The account for a trading mode: both halves of its key, or there is none."""
    prefix = f"ALPACA_{mode.upper()}"
    key_id, secret_key = given.get(f"{prefix}_KEY_ID"), given.get(f"{prefix}_SECRET_KEY")
    url = given.get(f"{prefix}_URL", ALPACA_URLS[mode]).rstrip("/").removesuffix("/v2")
    stream_url = given.get(f"{prefix}_STREAM_URL", "")
    _check_address(f"{prefix}_URL", url, "https", ALPACA_URLS[mode])
    if stream_url:
        _check_address(
            f"{prefix}_STREAM_URL", stream_url, "wss", f"wss{ALPACA_URLS[mode].removeprefix('https')}/stream"
        )
    if key_id is None or secret_key is None:
        return None
    return AlpacaAccount(key_id, secret_key, url, stream_url)


def _check_address(name: str, url: str, scheme: str, example: str) -> None:
    """Its `scheme` is the encrypted one; the other does on this machine alone."""
    parts = urlsplit(url)
    if parts.scheme not in (scheme, scheme[:-1]) or not parts.hostname or parts.query or parts.fragment:
        raise SettingsError(f"{name} must be an address such as {example}")
    if parts.scheme != scheme and not _is_loopback(parts.hostname):
        raise SettingsError(f"{name} must begin with {scheme}://: the key would be read on the way")


def _notify_urls(given: Mapping[str, str]) -> tuple[str, ...]:
    """Addresses, checked by form; Apprise checks the rest (app/services/notifications/apprise.py).

    An error never quotes the address: all of it may be secret.
    """
    text = given.get("NOTIFY_URLS")
    if text is None:
        return ()
    found = tuple(BETWEEN_ADDRESSES.split(text.strip(", \t\r\n")))
    for number, each in enumerate(found, 1):
        if not ADDRESS.fullmatch(each) or not each.isprintable():
            raise SettingsError(
                f"NOTIFY_URLS: address {number} is none, such as json://host/path, or has a space in it"
            )
    if len(set(found)) < len(found):
        raise SettingsError("NOTIFY_URLS: the same address is there twice")
    if len(found) > MOST_ADDRESSES:
        raise SettingsError(f"NOTIFY_URLS: more than {MOST_ADDRESSES} addresses")
    return found


def _notify_events(given: Mapping[str, str]) -> frozenset[Kind]:
    names = given.get("NOTIFY_EVENTS", " ".join(Kind)).replace(",", " ").split()
    for name in names:
        if name not in set(Kind):
            raise SettingsError(f"NOTIFY_EVENTS: {name!r} is none of {', '.join(Kind)}")
    return frozenset(Kind(name) for name in names)


def _public_url(given: Mapping[str, str]) -> str | None:
    url = given.get("PUBLIC_URL")
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        good = (
            parts.scheme in ("http", "https")
            and parts.hostname
            and not (parts.query or parts.fragment or "@" in url)
        )
    except ValueError:
        good = False
    if not good or len(url) > 200 or re.search(r"\s", url):
        raise SettingsError("PUBLIC_URL must be where people reach the desk, such as https://desk.example")
    return url.rstrip("/")


def _number(given: Mapping[str, str], name: str, default: int, lowest: int, highest: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and lowest <= int(text) <= highest):
        raise SettingsError(f"{name} must be a whole number from {lowest} to {highest}, not {text!r}")
    return int(text)


def _word(given: Mapping[str, str], name: str, words: Sequence[str]) -> str | None:
    text = given.get(name)
    if text is not None and text.lower() not in words:
        raise SettingsError(f"{name} must be one of {', '.join(words)}, not {text!r}")
    return text and text.lower()


def _self_approval(given: Mapping[str, str]) -> SelfApproval:
    """Without DATABASE_URL a single person may be using the desk, without a second approver."""
    word = _word(given, "SELF_APPROVAL", [str(each) for each in SelfApproval])
    return SelfApproval(word or ("never" if "DATABASE_URL" in given else "alone"))


def _metrics_token(given: Mapping[str, str]) -> str | None:
    token = given.get("METRICS_TOKEN")
    if token is not None and not (token.isascii() and token.isprintable() and len(token) >= MIN_SECRET_LENGTH):
        raise SettingsError(f"METRICS_TOKEN must have at least {MIN_SECRET_LENGTH} printable ASCII characters")
    return token


def _rate(given: Mapping[str, str], name: str, default: str) -> limits.RateLimitItem | None:
    text = given.get(name, default)
    if text == "off":
        return None
    try:
        [rate] = limits.parse_many(text)
        usable = 0 < rate.amount <= MOST_OF_A_RATE and 0 < rate.get_expiry() <= LONGEST_RATE
    except ValueError:  # also where there are several
        usable = False
    if not usable:
        raise SettingsError(f"{name} must be a rate such as {default}, or off, not {text!r}")
    return rate


def _instance(given: Mapping[str, str]) -> Path:
    home = PROJECT if (PROJECT / "pyproject.toml").exists() else Path.cwd()
    try:
        path = Path(given.get("INSTANCE_PATH", home / "instance")).expanduser().absolute()
    except RuntimeError as error:
        raise SettingsError(f"INSTANCE_PATH: {error}") from None
    if path.exists() and not path.is_dir():
        raise SettingsError(f"INSTANCE_PATH is not a folder: {path}")
    return path


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _kept_secret(path: Path) -> str:
    """The secret in `path`, made now if there is none; two processes that start at once agree on one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        if not path.exists():
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(48))
            try:
                os.link(fresh, path)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        secret = path.read_text().strip()
    except OSError as error:
        raise SettingsError(f"SECRET_KEY is not set and {path} cannot be used: {error.strerror}") from None
    if len(secret) < MIN_SECRET_LENGTH:
        raise SettingsError(f"{path} holds no usable secret: remove it, or set SECRET_KEY")
    return secret
