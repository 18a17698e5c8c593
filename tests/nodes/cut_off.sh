#!/usr/bin/env bash
# Two ranks on two "machines": network namespaces joined by a cable, which is pulled in the middle of a
# run. Shows that both ranks and mpirun end, and that `resume` ends in the bits of an undisturbed run.
#
# usage: cut_off.sh PLATON     (root; Open MPI; a platon built with --features mpi; some two minutes)
#
# The undisturbed run also goes over a cable with 20 ms of delay each way and 1 % of loss.
set -euo pipefail
platon=$(realpath "$1")
repository=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
work=$(mktemp -d)
cleanup() {
    [[ -z ${cable:-} ]] || kill "$cable" 2>/dev/null || true
    ip netns del platon1 2>/dev/null || true
    ip netns del platon2 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
cp -r "$repository/glue-data" "$repository/recipes" "$work"
cd "$work"

ip netns add platon1
ip netns add platon2
ip link add cable netns platon1 type veth peer name cable netns platon2
for n in 1 2; do
    ip -n platon$n addr add 10.9.0.$n/24 dev cable
    ip -n platon$n link set lo up
    ip -n platon$n link set cable up
    # Where mpirun has sent its daemon something that does not arrive, keep-alives do not count.
    ip netns exec platon$n sysctl -qw net.ipv4.tcp_retries2=5
done

# What mpirun starts its daemon on the other machine with: HOST COMMAND...
cat >agent <<'A'
#!/bin/sh
host=$1
shift
exec ip netns exec "platon${host##*.}" unshare --uts sh -c "hostname machine${host##*.}; $*"
A
chmod +x agent

network=10.9.0
launch() {
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    timeout 900 ip netns exec platon1 unshare --uts sh -c "hostname machine1; exec mpirun --quiet --bind-to none \
        --host $network.1:1,$network.2:1 --mca plm_rsh_agent $work/agent --mca btl tcp,self \
        --mca btl_tcp_if_include $network.0/24 --mca oob_tcp_if_include $network.0/24 \
        --mca oob_tcp_keepalive_time 10 --mca oob_tcp_keepalive_intvl 5 --mca oob_tcp_keepalive_probes 2 \
        -n 2 $platon $*"
}
train="train demo --no-tui --max-steps 500 --warmup-steps 40 --save-per-updates 50 --save-per-updates-on"
train="$train --keep-state --peer-timeout 5"

launch "$train --output-dir whole" >whole.log 2>&1
grep -o '2 ranks on .*' whole.log

python3 "$repository/tests/nodes/bad_cable.py" platon1 10.9.1.1/24 platon2 10.9.1.2/24 20 1 >cable.log &
cable=$!
until grep -q ready cable.log; do sleep 0.1; done
network=10.9.1
begun=$SECONDS
launch "$train --output-dir slow" >slow.log 2>&1
network=10.9.0
kill "$cable" # its devices go with it
cable=
cmp whole/model/model.safetensors slow/model/model.safetensors
echo "20 ms of delay and 1 % of loss: the same bits, after $((SECONDS - begun)) s; $(tail -1 cable.log)"

launch "$train --output-dir cut" >cut.log 2>&1 &
until [[ -d cut/checkpoint/update-100 ]]; do sleep 0.1; done
ip -n platon1 link set cable down
begun=$SECONDS
code=0
wait $! || code=$?
echo "cut off: ended with $code after $((SECONDS - begun)) s: $(grep '^error: ' cut.log)"
[[ $code != 0 ]] # the rank's own, or what mpirun says of its lost daemon
ip -n platon1 link set cable up
# Each has given up finding the other.
for n in 1 2; do ip -n platon$n neigh flush all; done
sleep 2
launch "resume cut --no-tui" >resumed.log 2>&1 || { cat resumed.log && exit 1; }
grep 'going on after update' resumed.log
cmp whole/model/model.safetensors cut/model/model.safetensors
echo "resumed: the same bits as undisturbed"
