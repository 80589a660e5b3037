"""A payment provider that misbehaves on request: part of the outside world, not of the store."""

VERSION = "0.1.0"
