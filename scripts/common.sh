# Sourced by scripts/test, scripts/quickstart and .ci/run: the virtual environment .venv, made once and kept until one of
# the files that decide what is in it changes.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$repository/.venv

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# The first Python that is new enough; PYTHON=… in the environment chooses another.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "no Python from 3.11 on found; install one, or name it: PYTHON=/path/to/python3.12 $0"
}

# DeepSpeed compiles an extension when it first runs on a CPU: it needs a C++ compiler and Python's headers.
ensure_system_packages() {
  local python=$1 missing=()
  "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  command -v g++ >/dev/null || missing+=(g++)
  "$python" -c 'import sys, sysconfig, pathlib
sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' || missing+=(python3-dev)
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "install these first: ${missing[*]} (on Debian or Ubuntu: sudo apt-get install ${missing[*]})"
  fi
  apt_install "${missing[@]}" || die "apt-get could not install ${missing[*]}"
}

apt_install() {
  say "installing $*"
  export DEBIAN_FRONTEND=noninteractive
  local lock="DPkg::Lock::Timeout=300"
  apt-get update -q -o $lock >/dev/null </dev/null || true
  apt-get install -q -y --no-install-recommends -o $lock "$@" >/dev/null </dev/null
}

# The browser that the browser lane drives; false where there is none and none can be installed. Ubuntu's `chromium` is
# a stub for a snap, which does not start in a container.
ensure_chromium() {
  chromium --version >/dev/null 2>&1 && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt_install chromium && chromium --version >/dev/null 2>&1
}

# The databases of the services lane. Their packages would start them as services of the machine; the lane starts its own.
ensure_databases() {
  has_databases && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt_install postgresql mariadb-server && has_databases
}

has_databases() { compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null && command -v mariadb-install-db >/dev/null; }

# Makes .venv, or leaves it as it is if nothing has changed; afterwards its programs come first in PATH.
ensure_venv() {
  local python stamp files=(pyproject.toml scripts/constraints.txt scripts/torch-version)
  python=$(find_python) || exit 1
  stamp="$repository $("$python" --version) $(cd "$repository" && cat "${files[@]}" | sha256sum)"
  if [ "$(cat "$venv/installed" 2>/dev/null)" != "$stamp" ]; then
    ensure_system_packages "$python"
    say "installing into $venv (minutes the first time)"
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    # torch alone and first: it is the one package with several builds, and which one fits depends on the machine
    pip_install -r "$repository/scripts/torch-version"
    pip_install -c "$repository/scripts/torch-version" -c "$repository/scripts/constraints.txt" \
      -e "$repository[train,report,trackers,dev]"
    printf '%s\n' "$stamp" >"$venv/installed"
  fi
  export PATH="$venv/bin:$PATH"
}

pip_install() { # quiet, unless it fails
  local log
  log=$("$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@" 2>&1 </dev/null) ||
    die "pip could not install $*:"$'\n'"$(tail -n 20 <<<"$log")"
}

has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; }
