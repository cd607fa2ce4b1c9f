"""Sending released orders to brokers, and following them there."""
