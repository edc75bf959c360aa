#!/usr/bin/env bash
# Runs a command of graphcnn from any folder: ./run.sh COMMAND [flags]; ./run.sh --help lists the commands.
# The first call creates .venv from requirements.txt with the versions of constraints.txt.
# PYTHON=/path/to/python3 chooses the interpreter. UNPINNED=1 installs the newest versions, UNPINNED=0 those of constraints.txt.
set -euo pipefail
self=${BASH_SOURCE[0]}
while [ -L "$self" ]; do # a link to this file may lie in a stranger's folder
    target=$(readlink -- "$self")
    case $target in /*) self=$target ;; *) self=$(dirname -- "$self")/$target ;; esac
done
here=$(CDPATH="" cd -- "$(dirname -- "$self")" && pwd -P)
venv=$here/.venv
python=$venv/bin/python
stamp=$venv/installed

fail() { echo "run.sh: $*" >&2; exit 2; }

# Prints the stamp of an up-to-date .venv: a checksum of the packages and versions, and the version of $PYTHON if it is set.
expected_stamp() {
    wanted_packages
    if [ -n "${PYTHON:-}" ]; then "$PYTHON" -I -c 'import sys; print(sys.version_info[:3])' 2>/dev/null || true; else sed -n 2p "$stamp" 2>/dev/null; fi
}

install() {
    local base=${PYTHON:-python3} version
    command -v "$base" > /dev/null || fail "$base: no such Python; choose one with PYTHON=/path/to/python3"
    version=$("$base" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])') ||
        fail "$base: is not a Python interpreter; choose one with PYTHON=/path/to/python3"
    case $version in
        3.10 | 3.11 | 3.12 | 3.13) ;;
        *) fail "$base is Python $version, but graphcnn needs Python 3.10 to 3.13; choose one with PYTHON=/path/to/python3" ;;
    esac
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ]; then
        fail "$venv: is not a virtual environment of Python; rename or remove it"
    fi
    echo "run.sh: creating $venv with Python $version; this installs TensorFlow and takes some minutes, once" >&2
    rm -rf "$venv"
    "$base" -I -m venv "$venv" || fail "cannot create $venv; on Debian and Ubuntu, run: apt-get install python3-venv"
    pip_install requirements.txt
    { wanted_packages; "$python" -I -c 'import sys; print(sys.version_info[:3])'; } > "$stamp.new"
    mv "$stamp.new" "$stamp"
}

# Prints a checksum of requirements.txt and the set of versions.
wanted_packages() { echo "$(cksum < "$here/requirements.txt") versions: $set_of_versions"; }

# Prints the set of versions: newest, or the checksum of constraints.txt. Without UNPINNED, an environment keeps its set.
versions() {
    local set=${UNPINNED:-}
    if [ -z "$set" ] && grep -q "versions: newest" "$stamp" 2>/dev/null; then set=1; fi
    if [ "${set:-0}" = 0 ]; then echo "constraints.txt, cksum $(cksum < "$here/constraints.txt")"; else echo newest; fi
}

pip_install() {
    local constraints=()
    [ "$set_of_versions" = newest ] || constraints=(--constraint "$here/constraints.txt")
    "$python" -I -m pip install --quiet --disable-pip-version-check -r "$here/$1" ${constraints[@]+"${constraints[@]}"} >&2 ||
        fail "installing $1 failed; check the network and call again"
}

# Installs requirements-dev.txt, unless this .venv has it.
install_dev() {
    local wanted
    wanted="$(cat "$stamp") $(cksum < "$here/requirements-dev.txt")"
    [ "$(cat "$stamp-dev" 2>/dev/null)" != "$wanted" ] || return 0
    echo "run.sh: installing requirements-dev.txt into $venv, once" >&2
    pip_install requirements-dev.txt
    echo "$wanted" > "$stamp-dev"
}

commands="train|eval|predict|submit|grade|explain|export|experiments|runs|report|inspect|bench|launch|test"
usage() {
    cat <<'END'
usage: ./run.sh COMMAND [flags]

  train        train a network on your images, or on scikit-learn's digits
  eval         score a run: macro F1, scores of each class, confusion matrix
  predict      print the most probable classes of images
  submit       write and verify a submission: result.npy, graph, zip file
  grade        score and rank the submissions of a class, which are not trusted
  explain      show which regions of an image support a class
  export       write a run as a SavedModel, TensorFlow Lite or NumPy file
  experiments  train a suite or a sweep of experiments, and write a report
  runs         list, compare and delete runs
  report       write a report on a run, an ensemble or a suite as one HTML page
  inspect      report on data: images of each class, identical images, a picture
  bench        compare the speed with Keras and PyTorch
  launch       train with several workers on this machine
  test         run the tests

./run.sh COMMAND --help lists the flags of a command.
END
}
command=${1:-}
case $command in
    train | eval | predict | submit | grade | explain | export | experiments | runs | report | inspect | bench | launch | test) shift ;;
    -h | --help | help) usage; exit 0 ;;
    *) fail "${command:+unknown command '$command'; }usage: ./run.sh $commands [flags]   (./run.sh --help explains the commands)" ;;
esac

set_of_versions=$(versions)
is_ready() { [ -x "$python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(expected_stamp)" ]; }
if ! is_ready; then
    exec 9> "$here/.venv.lock"
    if command -v flock > /dev/null; then flock 9; fi # if two calls want to create .venv, the second call waits
    is_ready || install
    exec 9>&-
fi

if [ "$command" = test ]; then
    cd "$here"
    exec 9> "$here/.venv.lock"
    if command -v flock > /dev/null; then flock 9; fi
    install_dev
    exec 9>&-
    [ $# -gt 0 ] || set -- --numprocesses=auto --maxprocesses=4 --dist=worksteal # a process without tests takes over tests of another
    exec "$python" -m pytest "$@"
fi
# -I: import nothing from the current folder or from PYTHONPATH
exec "$python" -I "$here/graphcnn/common/bootstrap.py" "graphcnn.$command" "$@"
