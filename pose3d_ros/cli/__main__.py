"""``python -m pose3d_ros.cli``: the ``pose3d`` command, where it is not on the path."""

import sys

from pose3d_ros.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
