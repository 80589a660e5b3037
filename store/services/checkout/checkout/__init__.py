"""checkout: from a cart to an order, with prices, tax and shipping that the buyer has seen."""

VERSION = "0.1.0"
