#!/usr/bin/env bash
# Makes a virtual environment with everything in requirements.lock and this project, editable.
# Usage: launch/environment.sh VENV
set -euo pipefail
venv=$1

python=
for candidate in python3.12 python3.11 python3; do
  if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [[ -z $python ]]; then
  echo "No Python 3.11 or 3.12 was found; install one of them and run this again." >&2
  exit 2
fi

# MediaPipe loads the EGL and GLES libraries; Debian keeps venv's pip in a package of its own.
packages=()
if [[ $(uname) == Linux ]]; then
  libraries=$(/sbin/ldconfig -p 2>/dev/null || true)
  [[ $libraries == *libEGL.so.1* ]] || packages+=(libegl1)
  [[ $libraries == *libGLESv2.so.2* ]] || packages+=(libgles2)
  [[ $libraries == *libGL.so.1* ]] || packages+=(libgl1)
  "$python" -c 'import ensurepip' 2>/dev/null || packages+=("$("$python" -c \
    'import sys; print(f"python3.{sys.version_info[1]}-venv")')")
fi
if ((${#packages[@]})); then
  root=
  [[ $(id -u) == 0 ]] || root=sudo
  $root apt-get update -q
  $root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
fi

"$python" -m venv --clear "$venv"
"$venv/bin/pip" install --quiet --no-deps --require-hashes -r requirements.lock
"$venv/bin/pip" install --quiet --no-deps --no-build-isolation --editable .
