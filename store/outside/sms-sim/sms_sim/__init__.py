"""A text message provider for the outside world, with a telephone to read the texts on."""

VERSION = "0.1.0"
