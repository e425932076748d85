# Copyright 2026 pose3d_ros maintainers
# SPDX-License-Identifier: Apache-2.0
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""``python -m pose3d_ros.cli``: the ``pose3d`` command, where it is not on the path."""

import signal
import sys

_handler = signal.getsignal(signal.SIGINT)
if _handler is signal.default_int_handler:  # Ctrl-C during imports ends without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from pose3d_ros.cli.main import main  # noqa: E402

if __name__ == "__main__":
    signal.signal(signal.SIGINT, _handler)
    sys.exit(main())
