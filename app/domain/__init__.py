"""The rules of the desk, in the standard library alone.

No Flask, no SQLAlchemy, no clock and no environment: whoever needs the time passes it in.
"""
