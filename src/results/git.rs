//! The state of the Git repository that a project is in: kept with each run, so that runs can be named by
//! their branch.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

/// Where the repository stood when a run began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitState {
    pub commit: String,
    /// `None` if no branch is checked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Whether a file that Git knows differed from the commit.
    #[serde(default)]
    pub dirty: bool,
}

/// A look at the repository, beside the run.
pub struct Looking(Option<JoinHandle<Option<GitState>>>);

/// Where servers say which branch they have checked out: they check out a commit.
const BRANCH_VARIABLES: [&str; 4] =
    ["GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BUILDKITE_BRANCH"];

/// Looks at the repository that `folder` is in, if there is one. A run does not wait for it.
pub fn look(folder: &Path) -> Looking {
    let is_repository = folder.ancestors().any(|above| above.join(".git").exists());
    let folder = folder.to_owned();
    Looking(is_repository.then(|| std::thread::spawn(move || state(&folder))))
}

impl Looking {
    /// `None` without a repository, without a commit, or without Git.
    pub fn result(self) -> Option<GitState> {
        self.0?.join().ok().flatten()
    }
}

fn state(folder: &Path) -> Option<GitState> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        // A look must change nothing, not even the index.
        .args([
            "--no-optional-locks",
            "status",
            "--porcelain=v2",
            "--branch",
            "--untracked-files=no",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| parse(&text)).flatten()
}

/// Reads what `git status --porcelain=v2 --branch` prints.
fn parse(text: &str) -> Option<GitState> {
    let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let commit = header("# branch.oid ").filter(|commit| *commit != "(initial)")?;
    let branch = header("# branch.head ").filter(|branch| *branch != "(detached)");
    let of_server = || {
        let mut found = BRANCH_VARIABLES.iter().filter_map(|name| std::env::var(name).ok());
        found.find(|branch| !branch.is_empty())
    };
    Some(GitState {
        commit: commit.to_owned(),
        branch: branch.map(str::to_owned).or_else(of_server),
        dirty: text.lines().any(|line| !line.starts_with('#')),
    })
}

impl GitState {
    /// `main@1a2b3c4`, with `+` if files differed from the commit.
    pub fn short(&self) -> String {
        let commit: String = self.commit.chars().take(7).collect();
        let branch = self.branch.as_ref().map_or(String::new(), |branch| format!("{branch}@"));
        format!("{branch}{commit}{}", if self.dirty { "+" } else { "" })
    }

    /// Whether a person means this by a branch or the beginning of a commit.
    pub fn is_called(&self, name: &str) -> bool {
        let is_commit = name.len() >= 7 && self.commit.starts_with(&name.to_ascii_lowercase());
        is_commit || self.branch.as_deref() == Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_branch_with_changes_is_read() {
        let text =
            "# branch.oid 1a2b3c4d5e6f\n# branch.head main\n# branch.ab +0 -0\n1 .M N... a\n";
        let found = parse(text).unwrap();
        assert_eq!(found.short(), "main@1a2b3c4+");
        assert!(found.is_called("main") && found.is_called("1a2b3c4") && !found.is_called("1a2"));
        assert!(parse("# branch.oid (initial)\n# branch.head main\n").is_none());
        assert!(parse("").is_none());
    }
}
