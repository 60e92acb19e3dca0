#!/usr/bin/env bash
# Starts a training on Kubernetes as a JobSet: one process per node, which uses all devices of its node.
# Usage: launch/gke/run.sh [--print] NAME IMAGE NODES DEVICES_PER_NODE ARGUMENTS OF faceswap train
#   --print    writes the manifest to standard output instead of giving it to kubectl
# Environment:
#   DEVICE     resource of the devices: nvidia.com/gpu, the default, or google.com/tpu
#   SELECTOR   labels of the nodes: KEY=VALUE,KEY=VALUE
#   CLAIM      persistent volume claim with data and work folders, mounted at /shared; default: faceswap
#   RESTARTS   how many crashes to survive, disruptions not counted; default: 10
set -euo pipefail

fail() {
  echo "$1" >&2
  exit 2
}

# A JSON string, which is YAML too.
quote() {
  if [[ $1 == *[[:cntrl:]]* ]]; then
    fail "'$1' holds a line break or another control character; a manifest cannot carry it safely."
  fi
  printf '"%s"' "$(printf %s "$1" | sed 's/[\\"]/\\&/g')"
}

apply=(kubectl apply -f -)
if [[ ${1:-} == --print ]]; then
  apply=(cat)
  shift
fi
(($# >= 4)) || fail "Usage: launch/gke/run.sh [--print] NAME IMAGE NODES DEVICES_PER_NODE ARGUMENTS OF faceswap train"
name=$1 image=$(quote "$2") nodes=$3 devices=$4
shift 4
claim=$(quote "${CLAIM:-faceswap}") device=${DEVICE:-nvidia.com/gpu} restarts=${RESTARTS:-10}
[[ $device =~ ^[-a-z0-9./]+$ ]] || fail "DEVICE is a resource such as nvidia.com/gpu, not '$device'."
[[ $name =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] || fail "'$name' is not a name of at most 40 characters a-z, 0-9, -."
for number in "$nodes" "$devices" "$restarts"; do
  [[ $number =~ ^(0|[1-9][0-9]*)$ ]] || fail "'$number' is not a number."
done

# Kubernetes would replace $(NAME) in arguments; $$ stands for a dollar.
arguments=
for argument in train "$@" --distributed; do
  arguments+=$'\n                    - '$(quote "$argument" | sed 's/\$/$$/g')
done

selector=
IFS=, read -r -a labels <<<"${SELECTOR:-}"
for label in ${labels[@]+"${labels[@]}"}; do
  [[ $label == *?=* ]] || fail "SELECTOR is KEY=VALUE,KEY=VALUE, not '$SELECTOR'."
  selector+="${selector:+, }$(quote "${label%%=*}"): $(quote "${label#*=}")"
done

# TPU pods are told their places by GKE, and JAX finds them itself.
environment=' []'
if [[ $device != google.com/tpu ]]; then
  environment="
                    - {name: JAX_COORDINATOR_ADDRESS, value: \"$name-workers-0-0.$name:8476\"}
                    - {name: JAX_NUM_PROCESSES, value: \"$nodes\"}
                    - name: JAX_PROCESS_ID  # what JOB_COMPLETION_INDEX holds
                      valueFrom:
                        fieldRef: {fieldPath: \"metadata.annotations['batch.kubernetes.io/job-completion-index']\"}"
fi

"${apply[@]}" <<END
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $name
spec:
  # One failed pod fails the Job and restarts all: the processes of one training live and die together.
  failurePolicy:
    maxRestarts: $restarts
    rules:
      - name: wrongInputOrDiverged
        action: FailJobSet
        onJobFailureReasons: [PodFailurePolicy]
        onJobFailureMessagePatterns: ["failed with exit code [12] "]
      - name: disrupted
        action: RestartJobSetAndIgnoreMaxRestarts
        onJobFailureReasons: [PodFailurePolicy]
        onJobFailureMessagePatterns: ["has condition DisruptionTarget "]
  network:
    enableDNSHostnames: true
    publishNotReadyAddresses: true
    subdomain: $name
  replicatedJobs:
    - name: workers
      replicas: 1
      template:
        spec:
          completionMode: Indexed
          completions: $nodes
          parallelism: $nodes
          backoffLimit: 0
          # Not Ignore for disruptions: it would replace one pod, when the others have saved and are gone.
          podFailurePolicy:
            rules:
              - action: FailJob
                onPodConditions: [{type: DisruptionTarget, status: "True"}]
              - action: FailJob
                onExitCodes: {containerName: train, operator: In, values: [1, 2]}
          template:
            spec:
              restartPolicy: Never
              terminationGracePeriodSeconds: 120
              nodeSelector: {$selector}
              securityContext: {runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000}
              containers:
                - name: train
                  image: $image
                  command: [/faceswap/launch/container/resumable, faceswap]
                  args:$arguments
                  env:$environment
                  envFrom:
                    - secretRef: {name: faceswap, optional: true}  # WANDB_API_KEY, for instance
                  resources:
                    limits: {$device: $devices}
                  volumeMounts:
                    - {name: shared, mountPath: /shared}
                    - {name: shm, mountPath: /dev/shm}
              volumes:
                - name: shared
                  persistentVolumeClaim: {claimName: $claim}
                - name: shm  # NCCL passes data between GPUs of a node through it; 64 MiB by default
                  emptyDir: {medium: Memory, sizeLimit: 16Gi}
END
