"""``python -m hostports.ui``, as the daemon starts it."""

from hostports.ui.process import main

main()
