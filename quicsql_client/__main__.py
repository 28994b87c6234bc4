"""`python -m quicsql_client`: the same commands as the script `quicsql-py`."""

import sys

from quicsql_client.cli import main

sys.exit(main())
