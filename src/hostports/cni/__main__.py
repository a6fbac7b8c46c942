"""``python -m hostports.cni``."""

import sys

from hostports.cni.main import main

sys.exit(main())
