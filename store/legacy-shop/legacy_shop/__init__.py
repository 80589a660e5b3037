"""The shop as it was before: one program, one database, everything in it."""

VERSION = "2.4.1-r1187"
