"""The WSGI application that gunicorn serves: `gunicorn wsgi:app`, with the settings of gunicorn.conf.py."""

from app import create_app

app = create_app()
