"""Broker adapters, and the protocol that they implement."""
