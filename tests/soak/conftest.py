"""The soak tests run when they are asked for: `make soak` sets SOAK_ROWS."""

import os

collect_ignore_glob = [] if "SOAK_ROWS" in os.environ else ["test_*.py"]
