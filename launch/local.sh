#!/usr/bin/env bash
# Starts a job of N processes on this machine, with D simulated devices each on a CPU.
# Usage: launch/local.sh N D COMMAND...     e.g. launch/local.sh 2 2 faceswap train --config FILE --workdir DIR
# When a process fails, the others are stopped. Ctrl-C and SIGTERM let all of them save and stop; once more, two seconds
# later or more, kills them.
set -euo pipefail
if (($# < 3)) || ! [[ $1 =~ ^[1-9][0-9]*$ && $2 =~ ^[1-9][0-9]*$ ]]; then
  echo "Usage: launch/local.sh PROCESSES DEVICES COMMAND..." >&2
  exit 2
fi
processes=$1 devices=$2
shift 2

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])')
export JAX_COORDINATOR_ADDRESS=localhost:$port JAX_NUM_PROCESSES=$processes
# Glibc returns memory after every step and gets it back in small pages: a quarter of a large network's step.
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}

pids=()
for ((i = 0; i < processes; i++)); do
  # In a session of its own: a terminal sends Ctrl-C to its whole session, and a process is to get one signal, SIGTERM.
  JAX_PROCESS_ID=$i setsid "$@" --distributed "--config.mesh.cpu_devices=$devices" &
  pids+=($!)
done
signal=TERM asked=
trap '[[ -z $asked ]] || ((SECONDS - asked < 2)) || signal=KILL
  asked=${asked:-$SECONDS}
  kill "-$signal" "${pids[@]}" 2>/dev/null || true' HUP INT TERM

code=0
while ((${#pids[@]})); do
  wait -n "${pids[@]}" || true
  for i in "${!pids[@]}"; do
    # Not by what `wait -n` says: it forgets whoever ends during the sleep below.
    ! kill -0 "${pids[i]}" || continue
    status=0
    wait "${pids[i]}" || status=$?
    unset "pids[$i]"
    # Who has lost another (3) may end before it does, whose own code says more. 134 are those that JAX aborts then, and
    # 137 those that are stopped below.
    if ((status && (!code || code == 3 && status != 3 && status != 134 && status != 137))); then
      code=$status first=$i
      ((status != 3)) || sleep 1 || true
      ((${#pids[@]} == 0)) || kill -KILL "${pids[@]}" || true
    fi
  done
done 2>/dev/null # silences bash's own reports of killed jobs
if ((code)); then
  ((code <= 2)) && hint="see above" || hint="the same command continues from the newest checkpoint"
  echo "Process $first of $processes has ended with code $code, so the others were stopped; $hint." >&2
fi
exit "$code"
