//! A real Slurm for the tests: `scripts/slurm_here.sh` starts it once, and it stops when this
//! process ends. If Slurm is not installed or cannot run, the tests are skipped and say so.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/slurm_here.sh");

pub struct Cluster {
    folder: TempDir,
    /// Stops the cluster when its standard input closes, however this process ends.
    _warden: Child,
}

/// Tests share the cluster; a test that disturbs it takes it exclusively.
static TURN: RwLock<()> = RwLock::new(());

/// Asks every 100 ms until there is an answer. `None` after this many seconds.
pub fn poll<T>(seconds: u64, mut answer: impl FnMut() -> Option<T>) -> Option<T> {
    (0..seconds * 10).find_map(|_| {
        let found = answer();
        if found.is_none() {
            std::thread::sleep(Duration::from_millis(100));
        }
        found
    })
}

impl Cluster {
    /// The cluster, which other tests use at the same time. `None`, with a message, if there is no
    /// Slurm.
    pub fn shared() -> Option<(&'static Cluster, RwLockReadGuard<'static, ()>)> {
        Cluster::get().map(|it| (it, TURN.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The cluster, which no other test uses until the guard is dropped.
    pub fn alone() -> Option<(&'static Cluster, RwLockWriteGuard<'static, ()>)> {
        Cluster::get().map(|it| (it, TURN.write().unwrap_or_else(PoisonError::into_inner)))
    }

    fn get() -> Option<&'static Cluster> {
        static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
        let cluster = CLUSTER.get_or_init(Cluster::start).as_ref();
        if cluster.is_none() {
            eprintln!("skipped: there is no Slurm here (`scripts/slurm_here.sh install`)");
        }
        cluster
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
        // Below the ports that Linux gives to outgoing connections.
        let port = 20_000 + std::process::id() % 3_000 * 4;
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
    pub fn wait_for(&self, program: &str, arguments: &[&str], wanted: impl Fn(&str) -> bool) {
        let mut said = String::new();
        let found = poll(300, || {
            let output = self.command(program, arguments).output().unwrap();
            said = String::from_utf8_lossy(&output.stdout).into_owned();
            wanted(&said).then_some(())
        });
        assert!(found.is_some(), "{program} {arguments:?} still says {said}");
    }

    /// Waits until a job has been put back into the queue, and lets it start: Slurm would wait two
    /// minutes more. Not in the second in which it was ended, up to which its node has revoked its
    /// credential: "Job credential revoked".
    #[track_caller]
    pub fn start_requeued(&self, job: &str) {
        self.wait_for("squeue", &["-h", "-o", "%T", "-j", job], |said| said.trim() == "PENDING");
        let second = || UNIX_EPOCH.elapsed().unwrap().as_secs();
        let ended = second();
        poll(10, || (second() > ended).then_some(()));
        self.ask("scontrol", &["update", &format!("JobId={job}"), "StartTime=now"]);
    }

    #[track_caller]
    pub fn wait_until_stopped(&self, job: &str) {
        let state = ["-h", "-o", "%T", "--states=all", "-j", job];
        self.wait_for("squeue", &state, |said| !said.contains("RUNNING"));
    }

    #[track_caller]
    pub fn node_of(&self, job: &str) -> String {
        self.ask("squeue", &["-h", "-o", "%N", "-j", job]).trim().to_owned()
    }

    /// Stops the controller, and returns when it is gone.
    pub fn stop_controller(&self) {
        let pid = std::fs::read_to_string(self.folder.path().join("run/slurmctld.pid")).unwrap();
        Command::new("kill").arg(pid.trim()).status().unwrap();
        wait_until_gone(pid.trim());
    }

    pub fn start_controller(&self) {
        self.script("controller", &[]);
        self.wait_until_idle();
    }

    /// Kills a node's daemon; processes that it started continue.
    pub fn stop_node(&self, node: &str) {
        let file = self.folder.path().join(format!("run/slurmd-{node}.pid"));
        let pid = std::fs::read_to_string(file).unwrap();
        assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    }

    pub fn start_node(&self, node: &str) {
        self.script("node", &[node]);
    }

    #[track_caller]
    fn script(&self, verb: &str, arguments: &[&str]) {
        let mut script = Command::new(SCRIPT);
        script.arg(verb).arg(self.folder.path()).args(arguments).stdin(Stdio::null());
        assert!(script.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    }

    /// Waits until all three nodes are idle.
    pub fn wait_until_idle(&self) {
        let idle = ["-h", "-o", "%D", "-t", "idle", "-p", "cpu"];
        self.wait_for("sinfo", &idle, |said| said.trim() == "3");
    }
}

#[track_caller]
pub fn wait_until_gone(pid: &str) {
    let process = Path::new("/proc").join(pid);
    let gone = poll(60, || (!process.exists()).then_some(()));
    assert!(gone.is_some(), "process {pid} is still there");
}
