//! A real Slurm for the tests: `scripts/slurm_here.sh` starts it once, and it is stopped when this
//! process is gone. If Slurm is not installed or cannot run, the tests are skipped and say so.

use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/slurm_here.sh");

pub struct Cluster {
    folder: TempDir,
    /// Stops the cluster when its standard input closes, however this process ends.
    _warden: Child,
}

/// Tests share the cluster; a test that disturbs it takes it exclusively.
static TURN: RwLock<()> = RwLock::new(());

impl Cluster {
    /// `None`, with a message, if there is no Slurm.
    pub fn get() -> Option<&'static Cluster> {
        static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
        let cluster = CLUSTER.get_or_init(Cluster::start).as_ref();
        if cluster.is_none() {
            eprintln!("skipped: there is no Slurm here (`scripts/slurm_here.sh install`)");
        }
        cluster
    }

    pub fn together(&self) -> RwLockReadGuard<'static, ()> {
        TURN.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn alone(&self) -> RwLockWriteGuard<'static, ()> {
        TURN.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn start() -> Option<Cluster> {
        let has = |program: &str| {
            let look = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
            look.is_ok_and(|output| output.status.success())
        };
        if !["slurmctld", "slurmd", "munged", "sbatch"].into_iter().all(has) {
            return None;
        }
        let folder = TempDir::with_prefix("slurm-").unwrap();
        let text =
            format!("cat >/dev/null; {SCRIPT} stop {0}; rm -rf {0}", folder.path().display());
        let mut warden = Command::new("setsid");
        warden.args(["bash", "-c", &text]).stdin(Stdio::piped());
        let warden = warden.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let port = 20_000 + std::process::id() % 10_000 * 4;
        let mut start = Command::new(SCRIPT);
        start.arg("start").arg(folder.path()).env("SLURM_HERE_PORT", port.to_string());
        let started = start.stdin(Stdio::null()).output().unwrap();
        let cluster = Cluster { folder, _warden: warden };
        if !started.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&started.stderr));
            return None;
        }
        Some(cluster)
    }

    /// The configuration file by which `pipe` finds the cluster.
    pub fn configuration(&self) -> String {
        self.folder.path().join("etc/slurm.conf").display().to_string()
    }

    /// Runs a Slurm program and returns its output.
    #[track_caller]
    pub fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program, arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {text}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env("SLURM_CONF", self.configuration());
        command.stdin(Stdio::null());
        command
    }

    /// Runs the program again until its output is as wanted.
    #[track_caller]
    pub fn wait_for(
        &self,
        program: &str,
        arguments: &[&str],
        wanted: impl Fn(&str) -> bool,
    ) -> String {
        let mut said = String::new();
        for _ in 0..3000 {
            let output = self.command(program, arguments).output().unwrap();
            said = String::from_utf8_lossy(&output.stdout).into_owned();
            if wanted(&said) {
                return said;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{program} {arguments:?} still says {said}");
    }

    /// Stops the controller, and returns when it is gone.
    pub fn stop_controller(&self) {
        let pid = std::fs::read_to_string(self.folder.path().join("run/slurmctld.pid")).unwrap();
        let folder = format!("/proc/{}", pid.trim());
        Command::new("kill").arg(pid.trim()).status().unwrap();
        for _ in 0..600 {
            if !std::path::Path::new(&folder).exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("the controller does not end");
    }

    pub fn start_controller(&self) {
        let mut script = Command::new(SCRIPT);
        let script = script.arg("controller").arg(self.folder.path()).stdin(Stdio::null());
        assert!(script.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        self.wait_until_idle();
    }

    /// Kills a node's daemon; processes that it started continue.
    pub fn stop_node(&self, node: &str) {
        let file = self.folder.path().join(format!("run/slurmd-{node}.pid"));
        let pid = std::fs::read_to_string(file).unwrap();
        assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    }

    pub fn start_node(&self, node: &str) {
        let mut script = Command::new(SCRIPT);
        script.arg("node").arg(self.folder.path()).arg(node).stdin(Stdio::null());
        assert!(script.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    }

    /// Waits until all three nodes are idle.
    pub fn wait_until_idle(&self) {
        let idle = ["-h", "-o", "%D", "-t", "idle", "-p", "cpu"];
        self.wait_for("sinfo", &idle, |said| said.trim() == "3");
    }
}
