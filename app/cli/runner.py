"""How a command runs: on the desk's database, as whoever is at the terminal, and with one line when it fails."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeVar

import click
import psycopg
from flask import Flask
from sqlalchemy.exc import DBAPIError, OperationalError

from app import create_app, database_url, embedded
from app.db import migrate as schema
from app.db.embedded import EmbeddedError
from app.db.pooler import require_session_pooling
from app.domain.roles import Role
from app.domain.texts import escape_controls
from app.extensions import db
from app.lib import logs
from app.lib.outages import first_line
from app.services.actor import Actor
from app.services.errors import DeskError, Invalid
from app.settings import Settings, SettingsError
from app.web.forms.fields import StrictForm

FormType = TypeVar("FormType", bound=StrictForm)
NOT_TEXT = "what was given holds bytes that are not UTF-8"


class Command(click.Group):
    """Whatever goes wrong is one line on stderr, and exit status 1 (2 for a wrong call); never a traceback."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except (SettingsError, EmbeddedError, DeskError) as error:
            words = str(error)
            # It may name what was given, in which bytes that are no text stand in disguise.
            fail(NOT_TEXT if any("\ud800" <= character <= "\udfff" for character in words) else words)
        except UnicodeError:
            fail(NOT_TEXT)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == "42P01":
                fail("the database has no tables of this version: run countersign db upgrade")
            if isinstance(error, OperationalError):
                fail(f"the database cannot be reached: {str(error.orig).strip().splitlines()[0]}")
            fail(f"the database does not do this: {str(error.orig).strip().splitlines()[0]}")
        except psycopg.Error as error:
            fail(f"the database cannot be reached: {first_line(error)}")
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            fail(error.format_message(), error.exit_code)


def say(line: str, *, err: bool = False) -> None:
    """Print one line that may hold text from other people: control characters are escaped."""
    click.echo(escape_controls(line), err=err)


def fail(message: str, status: int = 1) -> NoReturn:
    """Say why in one line, and end."""
    say(f"countersign: {' '.join(message.split())}", err=True)
    raise SystemExit(status)


@contextmanager
def desk(*, halts: bool = False) -> Iterator[Flask]:
    """The application with its database at hand, in an application context.

    A pooler that does not pool sessions is refused, except for a command that `halts`: a halt needs no more than
    one transaction. Raises SettingsError and psycopg.Error.
    The embedded database is started when it does not run, and left to the others when they still use it.
    """
    settings = Settings.from_environment()
    log_of_commands(settings)
    database = embedded(settings) if settings.embedded else None
    if database:
        database.start()
    elif not halts:
        require_session_pooling(database_url(settings))
    try:
        app = create_app(settings)
        with app.app_context():
            if database:
                migrate(settings)  # a first command on a new folder finds its tables
            try:
                yield app
            finally:
                for engine in db.engines.values():
                    engine.dispose()
    finally:
        if database:
            database.release()


def log_of_commands(settings: Settings) -> None:
    """Whoever is at the terminal reads what a command prints: of the log only what is wrong is for them."""
    logs.hide(settings.secrets)
    level = settings.log_level if settings.log_level in ("debug", "error") else "warning"
    logs.configure(form=settings.log_format, level=level, for_people=settings.embedded)


def migrate(settings: Settings) -> None:
    """Bring the tables to this version, as the role that owns them. Raises SettingsError and psycopg.Error."""
    if settings.migration_url:
        require_session_pooling(settings.migration_url, "MIGRATION_DATABASE_URL")
    schema.upgrade(settings.migration_url or database_url(settings))


def me() -> Actor:
    """Whoever can run this command holds the database: on the record as `cli:` and the system's user name."""
    user = str(os.getuid())
    with suppress(KeyError):  # a container may run under a number without a name
        user = pwd.getpwuid(os.getuid()).pw_name  # not getpass: it believes the environment
    return Actor(f"cli:{user}", Role.ADMIN, logs.own_request_id("cli"))


def valid(form: FormType) -> FormType:
    """The form, if it is. Raises Invalid."""
    if not form.validate():
        raise Invalid(form.messages())
    return form
