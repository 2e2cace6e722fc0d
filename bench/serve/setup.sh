#!/bin/bash
# One virtual environment per peer, because their pins conflict; pinned by requirements/*.txt. Needs wrk on the PATH.
#   bench/serve/setup.sh [NAME...]     (default: all; NAME is a file in requirements/)
set -eu
cd "$(dirname "$0")"
venvs=${BENCH_VENVS:-$HOME/.cache/segx-bench}
command -v wrk >/dev/null || { echo "wrk is missing: install it with the system's package manager" >&2; exit 2; }
[ $# -gt 0 ] || set -- core pytriton litserve mlserver bentoml robyn clients kserve ray
for name in "$@"; do
  [ -e "$venvs/$name/.complete" ] && continue
  "${PYTHON:-python3}" -m venv "$venvs/$name"
  "$venvs/$name/bin/pip" install --quiet --disable-pip-version-check -r "requirements/$name.txt"
  touch "$venvs/$name/.complete"
done
