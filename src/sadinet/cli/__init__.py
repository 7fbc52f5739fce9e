"""The command line: parse, call, print, exit code.

Exit codes: 0 done; 1 done in part, or a check found problems; 2 the user can mend it; 130 interrupted; 141 pipe closed.
Sub-commands import what they need when they run, so that ``--help`` does not wait for torch.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import SadinetError
from . import calibrate, data, doctor, evaluate, fetch, gallery, models, predict, serve, study, train

_EPILOG = """\
examples:
  sadinet predict photo.jpg                                a pose with the weights that come along
  sadinet serve                                            a web page for it, and an HTTP service
  sadinet train lsp-t --data DATA                          train on Leeds Sports Pose
  sadinet evaluate runs/lsp-t --dataset lsp --data DATA    the paper's Table II with your weights
  sadinet score predictions.mat --dataset lsp --data DATA  the same ruler for anybody's predictions
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="sadinet: %(message)s", level=logging.WARNING if arguments.quiet else logging.INFO)
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()  # here, where a closed pipe is still noticed
        return code
    except SadinetError as error:
        print(f"sadinet: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sadinet: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has gone: say nothing more, also not at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a folder that may not be written, a full disk: the message names it
        print(f"sadinet: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sadinet",
        description="Human pose estimation with SADI-Net.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sadinet {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    predict.add(commands)
    serve.add(commands)
    train.add(commands)
    evaluate.add_evaluate(commands)
    evaluate.add_score(commands)
    calibrate.add(commands)
    evaluate.add_submission(commands)
    models.add_export(commands)
    models.add_models(commands)
    fetch.add(commands)
    data.add(commands)
    study.add(commands)
    gallery.add(commands)
    doctor.add(commands)
    return parser
