"""``python -m hostports``."""

import sys

from hostports.cli.main import main

sys.exit(main())
