#!/usr/bin/env bash
# shim.sh MINUTES: hostile input to the C shim (shim.c), by libFuzzer where there is a clang that has
# it, else by the harness's own mutator. What fails is kept in .fuzz/, as is what was learned.
set -euo pipefail
cd "$(dirname "$0")/../.."
minutes=${1:-5}
mkdir -p .fuzz/shim
flags=(-g -O1 -fno-sanitize-recover=all -I cni/shim tests/fuzz/shim.c)
clang=$(command -v clang || ls /usr/bin/clang-[0-9]* 2>/dev/null | tail -1 || true)
if [ -n "$clang" ] && "$clang" -fsanitize=fuzzer,address,undefined -DLIBFUZZER "${flags[@]}" -o .fuzz/shim.run; then
    .fuzz/shim.run -max_len=65536 -max_total_time=$((minutes * 60)) -artifact_prefix=.fuzz/shim- \
        .fuzz/shim tests/fuzz/corpus/shim
else
    echo "no clang with libFuzzer (Debian: clang, libclang-rt-dev): using cc and a simple mutator"
    cc -fsanitize=address,undefined "${flags[@]}" -o .fuzz/shim.run
    end=$((SECONDS + minutes * 60))
    while [ $SECONDS -lt $end ]; do
        .fuzz/shim.run 200000 $((RANDOM * 32768 + RANDOM)) tests/fuzz/corpus/shim/*
    done
fi
