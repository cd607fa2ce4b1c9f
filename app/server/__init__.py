"""The server process: gunicorn's worker class, background jobs and leader election."""
