#!/usr/bin/env bash
# Runs the tests of the model and the default pipeline on Vulkan without a GPU: on lavapipe, the driver of Mesa that
# computes on the CPU. Two crates are patched for it: see the beginnings of `lavapipe/*.patch`.
#
#   scripts/lavapipe.sh            the tests of the model, of its training and of masked language modelling, then the
#                                  default pipeline, whose losses must be within 1e-5 of the CPU's in every epoch
#   scripts/lavapipe.sh NAME...    only the tests of `stages` whose names contain one of these
#
# The first build takes 20 minutes on two cores. Everything is kept in CARGO_TARGET_DIR, by default in
# ~/.cache/pipe-lavapipe, and the clone itself, with its Cargo.lock, stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
work="$(realpath -m "${CARGO_TARGET_DIR:-$HOME/.cache/pipe-lavapipe}")"
source="$work/source"
export CARGO_TARGET_DIR="$work/target"
. scripts/on_device.sh

install_mesa() {
    if ! compgen -G '/usr/share/vulkan/icd.d/lvp_icd*.json' >/dev/null || ! ldconfig -p | grep -q libvulkan.so.1 ||
        ! command -v patch >/dev/null; then
        local root=()
        [ "$(id -u)" = 0 ] || root=(sudo)
        "${root[@]}" apt-get update -qq
        "${root[@]}" apt-get install -y -qq --no-install-recommends mesa-vulkan-drivers libvulkan1 patch
    fi
    # Never a GPU that is there as well. Older loaders read the second name.
    VK_DRIVER_FILES="$(compgen -G '/usr/share/vulkan/icd.d/lvp_icd*.json' | head -1)"
    export VK_DRIVER_FILES VK_ICD_FILENAMES="$VK_DRIVER_FILES"
}

# Copies a crate and applies `lavapipe/CRATE.patch`, which says what for.
patched() {
    local crate="$1" version=0.11.3 original
    original="$(compgen -G "${CARGO_HOME:-$HOME/.cargo}/registry/src/*/$crate-$version" | head -1)" || {
        echo "$crate is no longer at $version: look whether it still needs its patch" >&2
        exit 1
    }
    rm -rf "$work/$crate.new"
    cp -r "$original" "$work/$crate.new"
    patch -p1 --quiet -d "$work/$crate.new" <"scripts/lavapipe/$crate.patch"
    # The old copy stays if it is the same, so that nothing is compiled again.
    if diff -rq "$work/$crate.new" "$work/$crate" >/dev/null 2>&1; then
        rm -rf "$work/$crate.new"
    else
        rm -rf "${work:?}/$crate"
        mv "$work/$crate.new" "$work/$crate"
    fi
}

# Copies the files of the clone that changed, and removes those that it no longer has: with the patch, cargo writes
# another Cargo.lock.
mirror() {
    mkdir -p "$source"
    git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
        [ ! -f "$file" ] || printf '%s\0' "$file"
    done | LC_ALL=C sort -zu >"$work/files"
    while IFS= read -r -d '' file; do
        cmp -s "$file" "$source/$file" || { mkdir -p "$source/$(dirname "$file")"; cp "$file" "$source/$file"; }
    done <"$work/files"
    (cd "$source" && find . -type f -printf '%P\0' | LC_ALL=C sort -z | LC_ALL=C comm -z -13 "$work/files" - | xargs -0r rm -f --)
}

# As `pipe` itself does: without a desktop Mesa would complain for each device.
export NODEVICE_SELECT=1
# Kernels are compiled at run time by passes that recurse deeply.
export RUST_MIN_STACK=67108864
build_with_vulkan() {
    step "the build with vulkan"
    # With a patch cargo writes another Cargo.lock.
    (cd "$source" && cargo "${all_tests[@]/#--locked/--offline}" --release --features vulkan \
        --config "patch.crates-io.cubecl-spirv.path='$work/cubecl-spirv'" \
        --config "patch.crates-io.cubecl-wgpu.path='$work/cubecl-wgpu'") >"$work/built.json"
}

mkdir -p "$work"
install_mesa
cargo fetch --locked --quiet
patched cubecl-spirv
patched cubecl-wgpu
mirror
build_with_vulkan
export PIPE_TEST_DEVICE=vulkan
tests="$(tests_of_stages "$work/built.json")"
# Another build may replace it.
cp "$CARGO_TARGET_DIR/release/pipe" "$work"
if [ $# -gt 0 ]; then
    run_tests "$tests" "$@"
    exit
fi
# bfloat16 is not supported there.
run_tests "$tests" accelerator:: device:: graphs:: model:: recipe:: masked_lm:: training_steps:: --skip bf16
pipe="$work/pipe"
"$pipe" doctor --offline || true
for device in cpu vulkan; do
    run_pipeline "$device" "$pipe" --device "$device"
done
python3 scripts/compare_losses.py "$work/cpu" "$work/vulkan"
step "done"
