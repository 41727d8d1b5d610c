#!/usr/bin/env bash
# Runs a real Slurm on this machine for the tests of the Slurm executor: one controller and three nodes
# on loopback, without systemd and without accounting.
#
#   scripts/slurm_here.sh install      install Debian's slurm-wlm and munge
#   scripts/slurm_here.sh start DIR    start Slurm, wait until its nodes are idle, write DIR/env.sh
#   scripts/slurm_here.sh stop DIR     stop what `start` started
#   scripts/slurm_here.sh controller DIR    start the controller again after it was stopped
#   scripts/slurm_here.sh node DIR N        start node N again
#
# SLURM_HERE_PORT is the first of four consecutive ports. Two clusters at the same time need different ports.
set -euo pipefail
verb="${1:?usage: slurm_here.sh install | start|stop|controller DIR | node DIR N}"
if [ "$verb" = install ]; then
    command -v slurmctld >/dev/null && command -v munged >/dev/null && exit 0
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq slurm-wlm munge >/dev/null
    exit 0
fi
dir="$(realpath -m "${2:?which folder?}")"
conf="$dir/etc/slurm.conf"
export SLURM_CONF="$conf"
case "$verb" in
stop)
    for pid in "$dir"/run/*.pid; do
        [ -e "$pid" ] && kill "$(cat "$pid")" 2>/dev/null || true
    done
    exit 0 ;;
controller)
    exec slurmctld -f "$conf" ;;
node)
    exec slurmd -f "$conf" -N "${3:?which node?}" ;;
start) ;;
*)
    echo "unknown verb $verb" >&2
    exit 2 ;;
esac
mkdir -p "$dir"/{etc,run,log,state,spool/n1,spool/n2,spool/n3}
chmod 700 "$dir/etc" "$dir/log" "$dir/run"
host="$(hostname -s)"
base="${SLURM_HERE_PORT:-26917}"
if [ ! -e "$dir/etc/munge.key" ]; then
    dd if=/dev/urandom of="$dir/etc/munge.key" bs=1024 count=1 status=none
    chmod 400 "$dir/etc/munge.key"
fi
cat >"$conf" <<CONF
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$(id -un)
SlurmctldPort=$base
AuthType=auth/munge
AuthInfo=socket=$dir/run/munge.sock
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd-%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=kill_invalid_depend,batch_sched_delay=0,sched_min_interval=0
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
MinJobAge=300
KillWait=5
SlurmdTimeout=10
MessageTimeout=5
NodeName=n[1-3] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((base + 1))-$((base + 3))] CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=cpu Nodes=n[1-3] Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=CANCEL
PartitionName=high Nodes=n[1-3] MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
CONF
munged --force --key-file="$dir/etc/munge.key" --socket="$dir/run/munge.sock" \
    --pid-file="$dir/run/munged.pid" --log-file="$dir/log/munged.log" --seed-file="$dir/run/munge.seed"
slurmctld -f "$conf"
for node in n1 n2 n3; do slurmd -f "$conf" -N "$node"; done
echo "export SLURM_CONF=$conf" >"$dir/env.sh"
for _ in $(seq 120); do
    [ "$(sinfo -h -o %D -t idle -p cpu 2>/dev/null | head -1)" = 3 ] && exit 0
    # It ends if somebody else has its port.
    controller="$(cat "$dir/run/slurmctld.pid" 2>/dev/null || true)"
    [ -z "$controller" ] || kill -0 "$controller" 2>/dev/null || {
        tail -3 "$dir/log/slurmctld.log" >&2
        exit 1
    }
    sleep 0.5
done
sinfo >&2 || true
echo "the nodes did not become idle: see $dir/log" >&2
exit 1
