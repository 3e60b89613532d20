# Sourced by stat, record and flamegraph.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
target=${CARGO_TARGET_DIR:-$root/target}
system=${SYSTEM:-butler}

[ $# -ge 1 ] || {
  echo "usage: perf/$(basename "$0") SCENARIO [OPTION OF scripts/bench…]" >&2
  echo "       SYSTEM=relay perf/$(basename "$0") … looks at the floor instead" >&2
  exit 2
}
command -v perf >/dev/null || {
  echo "perf is not there: it is in linux-perf, linux-tools or perf, by distribution" >&2
  exit 1
}
scenario=$1
shift

# Virtual machines often have no hardware counters.
if perf stat -e instructions true 2>&1 | grep -Eq '^ *[0-9][0-9,.]* +instructions'; then
  hardware=yes
else
  hardware=no
  echo "no hardware counters on this machine: software events instead" >&2
fi

# Frame pointers, so that stacks cost little to take and are whole.
build_profiling() {
  RUSTFLAGS="${RUSTFLAGS:-} -C force-frame-pointers=yes" cargo build --locked --quiet \
    --profile profiling --target-dir "$target" --manifest-path "$root/Cargo.toml"
}

# One run of the scenario, with a command attached to the system under test.
run_attached() {
  "$root/scripts/bench" --filter "^$scenario\$" --system "$system" --repetitions 1 \
    --attach "$1" "${@:2}"
}
