//! Which executor runs a stage: what the command line says, or the stage, or the pipeline.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::executor::local::Local;
use crate::executor::slurm::attached::Attached;
use crate::executor::slurm::detached::Detached;
use crate::executor::task::Task;
use crate::executor::{Executor, ExecutorError, Process};
use crate::pipeline::GPU;
use crate::pipeline::{ExecutorName, Pipeline};
use crate::remote::Remote;
use crate::store::Store;
use crate::store::key::Key;

/// Decides for every stage where it runs. `local` on the command line applies to all stages.
/// Another executor on the command line leaves the stages local that say `local` themselves.
pub fn choose(pipeline: &mut Pipeline, asked: Option<ExecutorName>) {
    let in_allocation = std::env::var_os("SLURM_JOB_ID").is_some();
    let default = asked.or(pipeline.executor).unwrap_or(ExecutorName::Local);
    for stage in &mut pipeline.stages {
        let handling = &mut stage.handling;
        let own = handling.executor.unwrap_or(default);
        let chosen = match (asked, own) {
            (Some(ExecutorName::Local), _) | (_, ExecutorName::Local) => ExecutorName::Local,
            (Some(asked), _) => asked,
            (None, own) => own,
        };
        let chosen = match chosen {
            ExecutorName::Slurm if in_allocation => ExecutorName::Srun,
            ExecutorName::Slurm => ExecutorName::Sbatch,
            other => other,
        };
        handling.executor = Some(chosen);
        if chosen != ExecutorName::Local
            && let Some(gpus) = handling.resources.remove(GPU)
        {
            // Slurm counts the GPUs, not this machine.
            handling.request.gpus = Some(gpus);
        }
    }
}

/// How many stages may run elsewhere at once: the number of cores of the allocation that the engine
/// is in. Batch jobs wait in a queue; 1,000 is as many as most clusters allow a user.
pub fn places_elsewhere() -> usize {
    std::env::var("SLURM_JOB_CPUS_PER_NODE").ok().and_then(|text| cores(&text)).unwrap_or(1000)
}

/// The number of cores in `4,2(x3)`.
fn cores(text: &str) -> Option<usize> {
    let of_part = |part: &str| -> Option<usize> {
        let (cores, times) = match part.split_once("(x") {
            Some((cores, times)) => (cores, times.strip_suffix(')')?),
            None => (part, "1"),
        };
        cores.parse::<usize>().ok()?.checked_mul(times.parse().ok()?)
    };
    text.split(',').map(of_part).sum()
}

/// All executors of a run. Those of Slurm are created when the first stage needs them.
pub struct Executors {
    binary: PathBuf,
    store: Store,
    /// For stages whose files travel through a remote.
    remote: Option<Arc<Remote>>,
    local: Local,
    detached: OnceLock<Detached>,
}

impl Executors {
    /// `binary` is this program.
    pub fn new(binary: &Path, store: &Store, remote: Option<Arc<Remote>>) -> Executors {
        Executors {
            binary: binary.to_owned(),
            store: store.clone(),
            remote,
            local: Local::new(binary),
            detached: OnceLock::new(),
        }
    }

    fn detached(&self) -> &Detached {
        self.detached.get_or_init(|| Detached::new(&self.store, &self.binary, self.remote.clone()))
    }
}

impl Executor for Executors {
    fn start(&self, task: &Task) -> Result<Box<dyn Process>, ExecutorError> {
        match task.work.executor {
            ExecutorName::Local => self.local.start(task),
            ExecutorName::Srun => Attached::new(&self.local, &self.store, &self.binary).start(task),
            ExecutorName::Slurm | ExecutorName::Sbatch => self.detached().start(task),
        }
    }

    fn folder(&self, executor: ExecutorName, key: Key) -> Option<PathBuf> {
        match executor {
            ExecutorName::Local | ExecutorName::Srun => None,
            ExecutorName::Slurm | ExecutorName::Sbatch => self.detached().folder(executor, key),
        }
    }

    fn takes_up(&self, executor: ExecutorName, key: Key) -> Result<bool, ExecutorError> {
        match executor {
            ExecutorName::Local | ExecutorName::Srun => Ok(false),
            ExecutorName::Slurm | ExecutorName::Sbatch => self.detached().takes_up(executor, key),
        }
    }

    fn keeps_time(&self, executor: ExecutorName) -> bool {
        executor != ExecutorName::Local
    }
}

#[cfg(test)]
mod tests {
    use super::cores;

    #[test]
    fn the_cores_of_an_allocation_are_counted() {
        assert_eq!(cores("4"), Some(4));
        assert_eq!(cores("4,2(x3)"), Some(10));
        assert_eq!(cores("many"), None);
    }
}
