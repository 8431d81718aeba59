"""The soak tests run when they are asked for: `make soak` sets SOAK_ROWS. That of upserts is in the
suite too, with few keys.
"""

import os

collect_ignore = (
    [] if "SOAK_ROWS" in os.environ else ["test_functions.py", "test_keys.py", "test_soak.py"]
)
