#!/usr/bin/env bash
# Run a command in the workspace's environment.
set -e
. /ws/install/setup.bash
exec "$@"
