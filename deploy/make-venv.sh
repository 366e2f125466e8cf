#!/bin/sh
# Makes a virtual environment with pip: make-venv.sh FOLDER
# Picks a Python from 3.11 to 3.14, survives a missing ensurepip, and replaces an environment that
# is unfinished or broken. Touches nothing in one that works, and no folder that is something else.
set -u
target=$1

suitable() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
}

# What is there was broken, or was made by this run and has got no further.
discard() {
    [ ! -d "$target" ] || [ -e "$target/pyvenv.cfg" ] || : >"$target/pyvenv.cfg"
    sh "$(dirname "$0")/remove-venv.sh" "$target" || exit 1
}

works() {
    suitable "$1/bin/python" && "$1/bin/python" -m pip -V >/dev/null 2>&1
}

if [ -e "$target/pyvenv.cfg" ]; then
    works "$target" && exit 0
elif [ -e "$target" ] && ! rmdir "$target" 2>/dev/null; then
    echo "$target is in use and no virtual environment: name another folder, or remove it." >&2
    exit 1
fi

python=
for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.14 python; do
    [ -n "$candidate" ] || continue
    if suitable "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    found=$(python3 -V 2>&1 || echo "no python3")
    echo "imagesieve needs Python 3.11 to 3.14; found: $found." >&2
    echo "Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2
    exit 1
fi

discard
if "$python" -m venv "$target" >/dev/null 2>&1 && works "$target"; then
    exit 0
fi

# Debian and Ubuntu ship Python without ensurepip unless python3-venv is installed.
discard
if "$python" -m venv --without-pip "$target" 2>/dev/null; then
    if "$python" -m pip --python "$target/bin/python" install --quiet pip >/dev/null 2>&1 &&
        works "$target"; then
        exit 0
    fi
fi
discard
if "$python" -m virtualenv --quiet "$target" >/dev/null 2>&1 && works "$target"; then
    exit 0
fi
discard
if uv venv --quiet --seed --python "$python" "$target" >/dev/null 2>&1 && works "$target"; then
    exit 0
fi
discard
echo "$("$python" -V) cannot make a virtual environment with pip: install the package" >&2
echo "python3-venv (Debian, Ubuntu), virtualenv or uv, or name another Python: make PYTHON=..." >&2
exit 1
