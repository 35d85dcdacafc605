"""`python -m inn` is the command `inn`."""

import sys

from inn.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
