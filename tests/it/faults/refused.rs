//! Errors instead of kills: each call that changes the disk fails, once or from some point on. The
//! run reports the error and exits with 1, and the next run is right.

use crate::faults::project::{Before, Scene, run};
use crate::faults::{Random, number_from};

/// Injects the fault at `count` points of a scene, and returns how many runs reported it.
fn refuse(before: Before, fault: &str, count: usize, random: &mut Random) -> usize {
    let scene = Scene::new(before);
    let points = scene.points();
    let step = points.div_ceil(count).max(1);
    let mut refused = 0;
    for at in (1 + random.below(step)..=points).step_by(step) {
        let project = scene.project();
        let fault = fault.replacen('N', &at.to_string(), 1);
        let ended = run(&project, "1", &[("PIPE_FAULT", &fault)]);
        // One stage always fails.
        assert_eq!(ended.code, Some(1), "{fault}: {ended:?}");
        let error = if fault.contains("ENOSPC") { "No space left" } else { "Input/output error" };
        let told = ended.stdout.contains(error) || ended.stderr.contains(error);
        refused += usize::from(told);
        scene.check(&project, &fault);
    }
    refused
}

#[test]
fn refused_at_any_call_that_changes_the_disk_the_next_run_is_right() {
    let budget = number_from("PIPE_KILLS", 90) / 6;
    let mut random = Random::new();
    for fault in ["N:ENOSPC", "N+:ENOSPC", "N:EIO"] {
        let mut refused = 0;
        for before in [Before::Fresh, Before::Changed] {
            refused += refuse(before, fault, budget, &mut random);
        }
        assert!(refused > 0);
        println!("{fault}: {refused} runs said what was refused");
    }
}
