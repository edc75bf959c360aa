#!/usr/bin/env bash
# The door to graphcnn: ./run.sh train|eval|predict|submit|explain|export|experiments|bench|launch|test [flags], from any folder.
# Makes .venv from requirements.txt on the first call; PYTHON=/path/to/python3 chooses the interpreter.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
venv=$here/.venv
python=$venv/bin/python
stamp=$venv/installed

fail() { echo "run.sh: $*" >&2; exit 2; }

# What the environment must have been made from: the requirements, and PYTHON's version where it is set.
wanted() {
    cksum < "$here/requirements.txt"
    if [ -n "${PYTHON:-}" ]; then "$PYTHON" -c 'import sys; print(sys.version_info[:3])' 2>/dev/null || true; else sed -n 2p "$stamp" 2>/dev/null; fi
}

install() {
    local base=${PYTHON:-python3} version
    command -v "$base" > /dev/null || fail "$base: no such Python; name one with PYTHON=/path/to/python3"
    version=$("$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "$base is not a Python"
    case $version in
        3.10 | 3.11 | 3.12 | 3.13) ;;
        *) fail "$base is Python $version, but TensorFlow 2.16 to 2.21 needs 3.10 to 3.13; name one with PYTHON=/path/to/python3" ;;
    esac
    echo "run.sh: making $venv with Python $version (once; TensorFlow is large)" >&2
    rm -rf "$venv"
    "$base" -m venv "$venv" || fail "cannot make $venv; on Debian: apt-get install python3-venv"
    "$python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2 ||
        fail "installing requirements.txt failed; check the network and call again"
    { cksum < "$here/requirements.txt"; "$python" -c 'import sys; print(sys.version_info[:3])'; } > "$stamp.new"
    mv "$stamp.new" "$stamp"
}

usage="usage: ./run.sh train|eval|predict|submit|explain|export|experiments|bench|launch|test [flags]   (./run.sh train --help lists a command's flags)"
command=${1:-}
case $command in
    train | eval | predict | submit | explain | export | experiments | bench | launch | test) shift ;;
    -h | --help | help) echo "$usage"; exit 0 ;;
    *) fail "${command:+unknown command '$command'; }$usage" ;;
esac

ready() { [ -x "$python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(wanted)" ]; }
if ! ready; then
    exec 9> "$here/.venv.lock"
    if command -v flock > /dev/null; then flock 9; fi # two first calls at once: the second waits
    ready || install
    exec 9>&-
fi

if [ "$command" = test ]; then
    cd "$here"
    [ $# -gt 0 ] || set -- --numprocesses=auto --maxprocesses=4 --dist=loadfile # all tests, a file at a time on each core
    exec "$python" -m pytest "$@"
fi
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" PYTHONSAFEPATH=1
exec "$python" -m "graphcnn.$command" "$@"
