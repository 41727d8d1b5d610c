//! Whether the service can still answer. A GPU that has failed once may compute nothing more for this process,
//! and then only another process helps.

use std::sync::OnceLock;

/// What `/health` tells.
#[derive(Debug, Default)]
pub struct Health {
    lost: OnceLock<String>,
}

impl Health {
    /// The device no longer computes: why.
    pub fn lose(&self, problem: String) {
        // The first reason stays.
        let _ = self.lost.set(problem);
    }

    /// Why the service has to be started again, if it has to.
    pub fn problem(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }
}
