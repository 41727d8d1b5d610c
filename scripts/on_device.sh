# What emulated_cuda.sh and lavapipe.sh have in common: the tests of the model and the default pipeline on a device. They
# set `work`, the folder for everything, and CARGO_TARGET_DIR, and run this file in the root of the clone.

step() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }

# The arguments of cargo that build the tests. Those of the program are built as well: with only those of `stages`,
# dependencies have other features than for the program, and everything is compiled twice.
all_tests=(test --locked --quiet --workspace --test it --no-run --message-format json)

# The path of the tests of `stages`, from the messages of cargo: `tests_of_stages FILE`.
tests_of_stages() {
    python3 - "$1" <<'PYTHON'
import json, sys
built = (json.loads(line) for line in open(sys.argv[1]))
print(next(it["executable"] for it in built
           if it.get("executable") and it["target"]["kind"] == ["test"] and "/stages#" in it["package_id"]))
PYTHON
}

# Runs tests and fails if there were none: `run_tests COMMAND...`. One after the other: what one test launches while
# another records would be recorded too.
run_tests() {
    step "the tests"
    (cd stages && "$@" --test-threads 1) | tee "$work/tests.log"
    ! grep -q '^running 0 tests' "$work/tests.log"
}

# Runs the default pipeline in a folder of its own: `run_pipeline NAME PIPE ARGUMENTS...`.
run_pipeline() {
    local folder="$work/$1" pipe="$2"
    shift 2
    rm -rf "$folder"
    mkdir -p "$folder/models"
    cp -r pipeline.yaml data "$folder"
    cp -r models/tweet-encoder "$folder/models"
    step "the default pipeline in $folder"
    # How long a kernel takes says nothing here.
    (cd "$folder" && PIPE_TIME_PRODUCTS=off "$pipe" run --offline --json --cache cache "$@" >events.jsonl) || {
        tail -5 "$folder/events.jsonl" >&2
        exit 1
    }
}
