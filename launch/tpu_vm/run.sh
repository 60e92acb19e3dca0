#!/usr/bin/env bash
# Trains on all hosts of a TPU VM slice. Zone and project are gcloud's (gcloud config set compute/zone ZONE).
# Usage: launch/tpu_vm/run.sh COMMAND NAME [...]
#   create NAME TYPE VERSION    asks for a spot slice and waits for it
#   setup NAME                  puts the commit checked out here, and its environment, on every host
#   train NAME ARGUMENTS        runs `faceswap train ARGUMENTS` on every host and waits for its end
#   logs NAME                   follows what the first host prints
#   stop NAME                   saves a checkpoint and ends the training; `train` continues it
#   delete NAME                 gives the slice back
#   keep NAME TYPE VERSION ARGUMENTS    create, setup and train; again after each preemption
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

vm() {
  gcloud compute tpus tpu-vm "$@"
}

all() {
  vm ssh "$name" --worker=all --command="$1"
}

# READY, PREEMPTED or so, NOT_FOUND, or nothing where gcloud cannot tell.
state() {
  local told
  told=$(vm describe "$name" --format='value(state)' 2>&1) || [[ $told == *NOT_FOUND* ]] || return 0
  [[ $told != *NOT_FOUND* ]] || told=NOT_FOUND
  echo "${told##*$'\n'}"
}

create() {
  gcloud compute tpus queued-resources create "$name" --node-id="$name" --accelerator-type="$1" \
    --runtime-version="$2" --spot
  until [[ $(state) == READY ]]; do sleep "${POLL:-60}"; done
}

setup() (
  archive=$(mktemp)
  trap 'rm -f "$archive"' EXIT
  # shellcheck disable=SC2016  # the hosts expand it
  git archive --format=tar.gz --output="$archive" HEAD &&
    vm scp "$archive" "$name:faceswap.tar.gz" --worker=all &&
    all 'set -e
    command -v python3.11 python3.12 >/dev/null ||
      { sudo apt-get update -q && sudo apt-get install -q -y python3.11 python3.11-venv; }
    mkdir -p faceswap && tar -xzf faceswap.tar.gz -C faceswap && cd faceswap
    bash launch/environment.sh .venv
    version=$(.venv/bin/python -c "from importlib.metadata import version; print(version(\"jax\"))")
    .venv/bin/pip install --quiet "jax[tpu]==$version"'
)

# A unit of systemd outlives this connection, and gets SIGTERM when its host shuts down. One that still runs, after a
# lost connection, is waited for; then the run is started again and, if it had finished, ends at once.
train() {
  if [[ $* == *[\$%]* ]]; then
    echo "systemd replaces \$ and % in arguments; leave them out." >&2
    return 2
  fi
  # shellcheck disable=SC2016  # the hosts expand it
  all 'while systemctl is-active --quiet faceswap; do sleep 5; done
    sudo systemd-run --quiet --wait --collect --unit=faceswap --uid="$(id -u)" --working-directory="$HOME/faceswap" \
      --setenv=HOME="$HOME" --setenv=PYTHONUNBUFFERED=1 --property=KillMode=mixed --property=TimeoutStopSec=120 \
      --property=LimitMEMLOCK=infinity --property=LimitNOFILE=1048576 \
      "$HOME/faceswap/.venv/bin/faceswap" train '"$(printf '%q ' "$@")"'--distributed'
}

logs() {
  vm ssh "$name" --worker=0 --command="sudo journalctl --unit=faceswap --output=cat --lines=100 --follow"
}

stop() {
  all "sudo systemctl stop faceswap"
}

delete() {
  gcloud compute tpus queued-resources delete "$name" --force --quiet
}

keep() {
  local type=$1 version=$2 code crashes=0
  shift 2
  while true; do
    case $(state) in
      READY) ;;
      PREEMPTED | TERMINATED | STOPPED | NOT_FOUND)
        delete || true # what preemption left of it
        create "$type" "$version"
        setup || { [[ $(state) != READY ]] && continue || return 1; }
        ;;
      *) # on its way, or the network is down here
        sleep "${POLL:-60}"
        continue
        ;;
    esac
    code=0
    train "$@" || code=$?
    [[ $(state) == READY ]] || continue # preempted; with code 0 it had time to save
    [[ $code != [012] ]] && ((++crashes <= 10)) || return "$code" # 255 is a lost connection
  done
}

case ${1:-}/$# in
  setup/2 | logs/2 | stop/2 | delete/2 | create/4 | train/[3-9] | train/??* | keep/[5-9] | keep/??*) ;;
  *)
    sed -n '2,10s/^# //p' launch/tpu_vm/run.sh >&2
    exit 2
    ;;
esac
action=$1 name=$2
shift 2
"$action" "$@"
