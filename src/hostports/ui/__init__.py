"""The web page of ``hostports ui``: a process without any right, which shows what it is told."""
