#!/usr/bin/env bash
# Runs the tests of the model and the default pipeline as built for CUDA, without a GPU: `cuda-emulator` runs the
# kernels, instruction by instruction, on the CPU.
#
#   scripts/emulated_cuda.sh            the tests of the model and of its training, then an epoch of the default
#                                       pipeline: in f32, whose losses must be within 1e-5 of the CPU's, and twice in
#                                       bf16, with blocks and warps in two orders, which must give the same bytes
#   scripts/emulated_cuda.sh NAME...    only the tests of `stages` whose names contain one of these
#
# The settings of the emulator, such as CUDA_EMULATOR_RACES=1, are in cuda-emulator/src/lib.rs. The first build takes 20
# minutes on two cores, the rest 40. Everything is kept in CARGO_TARGET_DIR, by default in ~/.cache/pipe-emulated-cuda.
set -euo pipefail
cd "$(dirname "$0")/.."
work="$(realpath -m "${CARGO_TARGET_DIR:-$HOME/.cache/pipe-emulated-cuda}")"
export CARGO_TARGET_DIR="$work/target"
. scripts/on_device.sh
mkdir -p "$work/driver"

step "the emulator"
RUSTFLAGS="-C target-cpu=native" cargo build --locked --release --quiet \
    --manifest-path scripts/cuda-emulator/Cargo.toml --target-dir "$work/emulator"
# Another run may have the old file open.
cp "$work/emulator/release/libcuda.so" "$work/driver/new"
mv "$work/driver/new" "$work/driver/libcuda.so.1"

step "the build with cuda"
cargo "${all_tests[@]}" --release --features cuda >"$work/built.json"
tests="$(tests_of_stages "$work/built.json")"
# Another build may replace it.
cp "$CARGO_TARGET_DIR/release/pipe" "$work"
# libdevice, which has the functions such as `exp`, comes with CUDA's compiler.
libdevice=nvvm/libdevice/libdevice.10.bc
if [ ! -e "${CUDA_PATH:-}/$libdevice" ]; then
    export CUDA_PATH="$work/nvcc/nvidia/cuda_nvcc"
    [ -e "$CUDA_PATH/$libdevice" ] ||
        python3 -m pip install -q --no-deps --upgrade --target "$work/nvcc" nvidia-cuda-nvcc-cu12==12.9.86
fi
export PIPE_TEST_DEVICE=cuda LD_LIBRARY_PATH="$work/driver${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export XDG_CACHE_HOME="$work/cache"
if [ $# -gt 0 ]; then
    run_tests "$tests" "$@"
    exit
fi
run_tests "$tests" accelerator:: device:: graphs:: heads:: masked_lm:: model:: recipe:: task_training:: tasks:: \
    training_steps::

pipe="$work/pipe"
epoch=(--set finetune.epochs=1)
run_pipeline cpu "$pipe" --device cpu "${epoch[@]}"
run_pipeline f32 "$pipe" --device cuda --set finetune.precision=f32 "${epoch[@]}"
python3 scripts/compare_losses.py "$work/cpu" "$work/f32"
run_pipeline bf16 "$pipe" --device cuda --set finetune.precision=bf16 "${epoch[@]}"
CUDA_EMULATOR_ORDER=1 run_pipeline other "$pipe" --device cuda --set finetune.precision=bf16 "${epoch[@]}"
python3 scripts/compare_losses.py --within 0 "$work/bf16" "$work/other"
# The names of objects are digests of their bytes.
diff <(cd "$work/bf16/cache/objects" && find . -type f | sort) <(cd "$work/other/cache/objects" && find . -type f | sort)
echo "the model and the predictions are the same to the bit"
step "done"
