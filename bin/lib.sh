# Shared by the scripts in bin/: where things lie, progress lines, and uv. Sourced, from the checkout's root.
# shellcheck shell=bash

GIAOBAN_CACHE="${GIAOBAN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/giaoban}"
STATE_DIR="${GIAOBAN_STATE:-$PWD/.state}"
STAMPS="$STATE_DIR/stamps"
UV_VERSION=0.13.9
UV="$GIAOBAN_CACHE/uv-$UV_VERSION/bin/uv"
export UV_PYTHON_DOWNLOADS=never

say()  { printf '%s\n' "$*"; }
fail() { printf '\n%s: %s\n' "$(basename "$0")" "$1" >&2; shift; for line in "$@"; do printf '  %s\n' "$line" >&2; done; exit 1; }

# The directories of the workspace's members, as pyproject.toml lists them.
workspace_members() {
  local python=python3
  [[ ! -x .venv/bin/python ]] || python=.venv/bin/python
  "$python" - <<'PY'
import pathlib, tomllib
for pattern in tomllib.loads(pathlib.Path("pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]:
    for found in sorted(pathlib.Path().glob(pattern)):
        if (found / "pyproject.toml").exists():
            print(found)
PY
}

# Prints one hash over the named files and directories (git's view where there is one: no build products).
content_hash() {
  { printf '%s\n' "$@"; git ls-files -co --exclude-standard -z -- "$@" 2>/dev/null | LC_ALL=C sort -z | xargs -0 -r sha256sum 2>/dev/null; } | sha256sum | cut -d' ' -f1
}

# uv in a virtual environment of its own, so that it is neither in ours nor in the system's.
ensure_uv() {
  [[ ! -x $UV ]] || return 0
  local home python
  home="$(dirname "$(dirname "$UV")")"
  python="$(system_python)"
  rm -rf "$home.tmp" && mkdir -p "$GIAOBAN_CACHE"
  "$python" -m venv "$home.tmp" || fail "python3 -m venv failed" "install python3-venv and run bin/setup again"
  "$home.tmp/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" ||
    fail "pip could not install uv $UV_VERSION" \
      "Is the package index reachable? Behind a proxy set HTTPS_PROXY; with a mirror set PIP_INDEX_URL."
  # Renamed when finished: a half-made one is never used.
  rm -rf "$home"
  mv "$home.tmp" "$home"
}

# The newest Python on PATH that the house supports (3.11 to 3.13); empty when there is none.
system_python() {
  local name
  for name in python3 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
      "$name" -c 'import sys; print(sys.executable)'
      return
    fi
  done
}
