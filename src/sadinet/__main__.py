"""``python -m sadinet``."""

import sys

from .cli import main

sys.exit(main())
