"""The contract of payments, to be passed by every implementation.

    python3 -m contract                                   this folder's own, started by the suite
    python3 -m contract --dir ../payments-rs --run ./target/debug/payments
    python3 -m contract --base-url http://… --psp-url http://… --webhook-secret … --api-token …

The first two forms start the service (and psp-sim) themselves and so can put faults on the wire and kill it;
the third needs a running pair and skips what it cannot do. Options go before names of tests (unittest's).
"""

from __future__ import annotations

import argparse
import sys
import unittest
from pathlib import Path

from . import world


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m contract", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    settings = world.settings
    parser.add_argument("--run", default=settings.command, help="command that starts the service")
    parser.add_argument("--dir", type=Path, default=settings.folder, help="where that command is run")
    parser.add_argument("--spec", type=Path, default=settings.spec_folder, help="folder of openapi.yaml and events/")
    parser.add_argument("--psp-sim", type=Path, default=settings.psp_folder, help="folder of the simulated provider")
    parser.add_argument("--base-url", help="a service that runs already")
    parser.add_argument("--psp-url", help="its provider, a psp-sim")
    parser.add_argument("--webhook-secret", default=settings.webhook_secret)
    parser.add_argument("--api-token", default=settings.api_token)
    parser.add_argument("--seed", type=int, action="append", help="seeds of the random lives (may be repeated)")
    parser.add_argument("--orders", type=int, default=settings.orders, help="orders in a random life")
    parser.add_argument("--logs", action="store_true", help="show the service's log after each class of tests")
    parser.add_argument("tests", nargs="*", help="e.g. test_crash or test_commands.Commands.test_keys")
    given = parser.parse_args()
    if (given.base_url is None) != (given.psp_url is None):
        parser.error("--base-url and --psp-url go together")
    settings.command, settings.folder, settings.spec_folder = given.run, given.dir.resolve(), given.spec.resolve()
    settings.psp_folder, settings.base_url, settings.psp_url = given.psp_sim.resolve(), given.base_url, given.psp_url
    settings.webhook_secret, settings.api_token = given.webhook_secret, given.api_token
    settings.orders, settings.keep_logs = given.orders, given.logs
    settings.seeds = given.seed or settings.seeds

    loader = unittest.TestLoader()
    package = __package__ or "contract"
    if given.tests:
        suite = loader.loadTestsFromNames([f"{package}.{name}" for name in given.tests])
    else:
        folder = Path(__file__).parent
        suite = loader.discover(str(folder), top_level_dir=str(folder.parent))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    if not given.tests:
        print("not seen in this run:", ", ".join(world.spec().unseen()) or "nothing", file=sys.stderr)
    sys.exit(not result.wasSuccessful())


main()
