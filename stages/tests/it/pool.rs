//! A stage's process has one thread pool, of the size that the manifest says.

use std::process::Command;

use stages::{Events, Manifest};

const CHILD: &str = "STAGES_TEST_POOL_CHILD";

/// Runs itself again in a process of its own, because any other test may start rayon's global pool.
#[test]
fn a_stage_runs_on_one_pool_and_does_not_start_the_global_one() {
    if std::env::var_os(CHILD).is_none() {
        let name = "pool::a_stage_runs_on_one_pool_and_does_not_start_the_global_one";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{output}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let row = |id: u32, label: &str| {
        format!("{{\"id\":\"{id}\",\"label\":\"{label}\",\"text\":\"text {label}\"}}\n")
    };
    std::fs::write(path("train"), format!("{}{}", row(1, "A"), row(2, "B"))).unwrap();
    let stage = stages::find("baseline").unwrap();
    let given = [("min_rows".to_owned(), 1.into())].into();
    let manifest = Manifest {
        stage: "baseline".to_owned(),
        uses: "baseline".to_owned(),
        version: stage.version(),
        params: stages::Params::resolve(stage.params(), &given).unwrap(),
        inputs: [("train".to_owned(), path("train"))].into(),
        outputs: [("metrics".to_owned(), path("metrics"))].into(),
        state: path("state"),
        device: "cpu".to_owned(),
        threads: 2,
    };
    std::fs::write(path("stage.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    stages::run_manifest(&path("stage.json"), &Events::discard()).unwrap();
    let global = rayon::ThreadPoolBuilder::new().num_threads(1).build_global();
    assert!(global.is_ok(), "the stage has started the global pool");
}
