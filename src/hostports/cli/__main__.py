"""``python -m hostports.cli``."""

import sys

from hostports.cli.main import main

sys.exit(main())
