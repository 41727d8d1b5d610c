//! Why Slurm does not run a stage.

use std::path::PathBuf;

/// Why Slurm does not run a stage.
#[derive(Debug, thiserror::Error)]
pub enum SlurmError {
    #[error("starting `{program}`: {source}")]
    NoProgram { program: &'static str, source: std::io::Error },
    #[error("Slurm rejected the stage: {said}")]
    Refused { said: String },
    #[error("the Slurm controller could not be reached for {minutes} minutes: {said}")]
    Unreachable { minutes: u64, said: String },
    /// A node does not see a path that the engine sees.
    #[error("{} does not see `{}`", node_name(node), path.display())]
    NotShared { node: String, path: PathBuf },
    #[error(
        "{} has run the stage, but no result appeared in `{}` within {seconds} seconds",
        node_name(node),
        path.display()
    )]
    NothingBack { node: String, path: PathBuf, seconds: u64 },
    #[error("transfer through remote `{remote}`: {problem}")]
    ByRemote { remote: String, problem: String },
    #[error("{} could not use the remote, or does not know how to reach it", node_name(node))]
    NoRemoteThere { node: String },
    #[error("this `pipe` does not understand the remote given by `--from`")]
    NoSpec,
    #[error("`--submit` needs a file system that all nodes share, but `transfer` is `remote`")]
    SubmitShared,
    #[error("the thread that watches the Slurm jobs has ended")]
    NoClerk,
}

fn node_name(node: &str) -> String {
    if node.is_empty() { "the node".to_owned() } else { format!("node `{node}`") }
}

impl SlurmError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            SlurmError::NoProgram { .. } => {
                "put Slurm's programs on the `PATH`, or run everything here with `--executor local`"
                    .to_owned()
            }
            SlurmError::Refused { .. } => {
                "check `resources` of the stage and `slurm` at the top of the pipeline".to_owned()
            }
            SlurmError::Unreachable { .. } => "`scontrol ping` shows when it is back".to_owned(),
            SlurmError::NotShared { .. } => {
                "the store, the project and `pipe` itself must be at the same path on all nodes, \
                 on a shared file system: `--cache DIR` moves the store. Without a shared file \
                 system, `slurm: {transfer: remote}` sends files through a remote"
                    .to_owned()
            }
            SlurmError::NothingBack { .. } => {
                "is the store on a file system that the nodes share? If it is only slow, set \
                 `slurm: {late_files: 5m}`"
                    .to_owned()
            }
            SlurmError::ByRemote { .. } => {
                "check the remotes with `pipe doctor`, then run again".to_owned()
            }
            SlurmError::NoRemoteThere { .. } => {
                "the node needs credentials and the secret for the remote, in the environment \
                 that `sbatch` exports or in the node's own `~/.config/pipe/config.yaml`, and \
                 network access to the server"
                    .to_owned()
            }
            SlurmError::NoSpec => "install the same version of `pipe` on the node".to_owned(),
            SlurmError::SubmitShared => {
                "run without `--submit`: the engine then keeps running".to_owned()
            }
            SlurmError::NoClerk => "please report it; recorded results are intact".to_owned(),
        })
    }
}
