//! Slurm's programs: how they are called, and what their answers mean.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::executor::slurm::error::SlurmError;
use crate::executor::status::JobEnd;

/// One job, or one member of an array, as `squeue` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueEntry {
    /// The ID that `scancel` accepts: `17`, `17_3`.
    pub id: String,
    pub state: String,
    /// The exit code of the job's script.
    pub exit_code: Option<i32>,
    pub nodes: String,
    pub reason: String,
}

/// A job's name, and its index in an array.
pub type JobName = (String, Option<u32>);

/// Why a Slurm command gave no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// The controller may answer later.
    Away(String),
    Final(SlurmError),
}

/// Each column with its width; longer values are cut off.
const COLUMNS: [(&str, usize); 7] = [
    ("ArrayJobID", 20),
    ("ArrayTaskID", 20),
    ("State", 24),
    ("exit_code", 16),
    ("Name", 120),
    ("NodeList", 80),
    ("Reason", 80),
];

/// All jobs of this user that Slurm knows, including finished ones: one call, however many there
/// are.
pub fn squeue() -> Result<BTreeMap<JobName, QueueEntry>, Unanswered> {
    let columns: Vec<String> =
        COLUMNS.iter().map(|(name, width)| format!("{name}:{width}")).collect();
    let columns = columns.join(",");
    let mut command = Command::new("squeue");
    command.args(["--me", "--noheader", "--array", "--states=all", "-O", &columns]);
    Ok(rows(&answer("squeue", command, None)?))
}

fn rows(text: &str) -> BTreeMap<JobName, QueueEntry> {
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let characters: Vec<char> = line.chars().collect();
        let mut from = 0;
        let mut next = |width: usize| {
            let part = characters.iter().skip(from).take(width).collect::<String>();
            from += width;
            part.trim().to_owned()
        };
        let [job, index, state, exit_code, name, nodes, reason] =
            COLUMNS.map(|(_, width)| next(width));
        let index: Option<u32> = index.parse().ok();
        let id = index.map_or_else(|| job.clone(), |index| format!("{job}_{index}"));
        let exit_code = exit_code_of(&exit_code);
        let row = QueueEntry { id, state, exit_code, nodes, reason };
        let place = rows.entry((name, index)).or_insert_with(|| row.clone());
        // If a job is listed twice, the entry that may still run counts.
        if !place.is_active() {
            *place = row;
        }
    }
    rows
}

/// `20736` is a wait status, here of exit code 81; some versions write `81:0`.
fn exit_code_of(text: &str) -> Option<i32> {
    if let Some((code, _)) = text.split_once(':') {
        return code.parse().ok();
    }
    text.parse::<i32>().ok().map(|status| status >> 8 & 0xff)
}

impl QueueEntry {
    /// Whether the job waits, runs, or will run again.
    pub fn is_active(&self) -> bool {
        const ACTIVE: [&str; 11] = [
            "PENDING",
            "RUNNING",
            "CONFIGURING",
            "COMPLETING",
            "SUSPENDED",
            "STOPPED",
            "SIGNALING",
            "STAGE_OUT",
            "RESIZING",
            "REQUEUED",
            "REQUEUE_HOLD",
        ];
        ACTIVE.contains(&self.state.as_str()) || self.state.starts_with("REQUEUE")
    }

    /// Why the job waits, if that may be news to the user.
    pub fn waits_for(&self) -> Option<&str> {
        const USUAL: [&str; 7] =
            ["None", "Priority", "Resources", "BeginTime", "Cleaning", "JobArrayTaskLimit", ""];
        let pending = self.state == "PENDING" || self.state == "REQUEUE_HOLD";
        (pending && !USUAL.contains(&self.reason.as_str())).then_some(&self.reason)
    }

    /// Why the job has ended, if the scheduler ended it.
    pub fn end(&self) -> Option<JobEnd> {
        Some(match self.state.as_str() {
            "TIMEOUT" | "DEADLINE" => JobEnd::TimeLimit,
            "OUT_OF_MEMORY" => JobEnd::OutOfMemory,
            "NODE_FAIL" | "BOOT_FAIL" => JobEnd::NodeFailed { nodes: self.nodes.clone() },
            "PREEMPTED" => JobEnd::Preempted,
            "CANCELLED" if self.reason.contains("Dependency") => JobEnd::Dependency,
            "CANCELLED" | "REVOKED" => JobEnd::Cancelled,
            _ => return None,
        })
    }

    /// All that is known about the job, in words.
    pub fn in_words(&self) -> String {
        let code = self.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
        format!("job {}: {}{code}", self.id, self.state)
    }
}

/// Submits a script and returns the job's number.
pub fn sbatch(options: &[String], script: &str) -> Result<String, Unanswered> {
    let mut command = Command::new("sbatch");
    command.arg("--parsable").args(options);
    // The job must not inherit the allocation that the engine is in.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("SLURM_") && name_text != "SLURM_CONF" {
            command.env_remove(&name);
        }
    }
    let said = answer("sbatch", command, Some(script))?;
    // `17`, or `17;cluster`
    let id = said.trim().lines().last().unwrap_or_default();
    let id = id.split(';').next().unwrap_or_default().trim();
    match !id.is_empty() && id.chars().all(|char| char.is_ascii_digit()) {
        true => Ok(id.to_owned()),
        false => Err(Unanswered::Final(SlurmError::Refused {
            said: format!("`sbatch` gave no job's number but `{}`", said.trim()),
        })),
    }
}

/// Cancels jobs. A job that has already ended is not an error.
pub fn scancel(arguments: &[String]) -> Result<(), Unanswered> {
    let mut command = Command::new("scancel");
    command.arg("--quiet").args(arguments);
    answer("scancel", command, None).map(drop)
}

fn answer(
    program: &'static str,
    mut command: Command,
    input: Option<&str>,
) -> Result<String, Unanswered> {
    let failed = |source| Unanswered::Final(SlurmError::NoProgram { program, source });
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some((mut pipe, input)) = child.stdin.take().zip(input) {
        // A program that does not read its input explains why.
        let _ = pipe.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = said(&String::from_utf8_lossy(&output.stderr));
    Err(match may_pass(&said) {
        true => Unanswered::Away(said),
        false => Unanswered::Final(SlurmError::Refused { said }),
    })
}

/// A program's error output as one line, without the program's name in front of each part.
pub fn said(stderr: &str) -> String {
    let strip = |line: &str| {
        let prefixes = ["sbatch: ", "srun: ", "squeue: ", "scancel: ", "error: ", "fatal: "];
        let mut line = line.trim();
        while let Some(rest) = prefixes.iter().find_map(|prefix| line.strip_prefix(prefix)) {
            line = rest;
        }
        line.to_owned()
    };
    let lines: Vec<String> = stderr.lines().map(strip).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

/// Whether the same command may succeed later.
fn may_pass(said: &str) -> bool {
    const PASSING: [&str; 10] = [
        "Unable to contact",
        "Socket timed out",
        "Connection refused",
        "Connection timed out",
        "temporarily unable",
        "Zero Bytes were transmitted",
        "Transport endpoint",
        "try again later",
        "job submit limit",
        "Resource temporarily unavailable",
    ];
    PASSING.iter().any(|passing| said.contains(passing))
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, QueueEntry, exit_code_of, may_pass, rows, said};
    use crate::executor::status::JobEnd;

    fn line(parts: [&str; 7]) -> String {
        let columns = COLUMNS.iter().zip(parts);
        columns.map(|((_, width), part)| format!("{part:<width$}")).collect::<String>() + "\n"
    }

    #[test]
    fn rows_are_read_by_their_widths() {
        let text = line(["17", "N/A", "RUNNING", "0", "pipe-a-1", "n1", "None"])
            + &line(["18", "3", "FAILED", "20736", "pipe-b-2", "n[1-3]", "NonZeroExitCode"]);
        let rows = rows(&text);
        let one = &rows[&("pipe-a-1".to_owned(), None)];
        assert_eq!((one.id.as_str(), one.is_active()), ("17", true));
        let other = &rows[&("pipe-b-2".to_owned(), Some(3))];
        assert_eq!((other.id.as_str(), other.exit_code), ("18_3", Some(81)));
        assert_eq!(other.in_words(), "job 18_3: FAILED, exit code 81");
    }

    #[test]
    fn each_way_to_end_is_told_from_the_others() {
        let end = |state: &str, reason: &str| {
            let (id, nodes) = ("1".to_owned(), "n1".to_owned());
            let (state, reason) = (state.to_owned(), reason.to_owned());
            QueueEntry { id, state, exit_code: None, nodes, reason }.end()
        };
        assert_eq!(end("TIMEOUT", "TimeLimit"), Some(JobEnd::TimeLimit));
        assert_eq!(end("OUT_OF_MEMORY", "OutOfMemory"), Some(JobEnd::OutOfMemory));
        let nodes = "n1".to_owned();
        assert_eq!(end("NODE_FAIL", "NodeDown"), Some(JobEnd::NodeFailed { nodes }));
        assert_eq!(end("PREEMPTED", "None"), Some(JobEnd::Preempted));
        assert_eq!(end("CANCELLED", "None"), Some(JobEnd::Cancelled));
        assert_eq!(end("CANCELLED", "DependencyNeverSatisfied"), Some(JobEnd::Dependency));
        assert_eq!(end("COMPLETED", "None"), None);
    }

    #[test]
    fn what_a_program_says_is_told_in_a_line_and_what_may_pass_is_known() {
        let away = "sbatch: error: Batch job submission failed: Unable to contact slurm controller \
                    (connect failure)\n";
        assert!(said(away).starts_with("Batch job submission failed: Unable"));
        assert!(may_pass(away));
        assert!(!may_pass("sbatch: error: invalid partition specified: gpu"));
        assert_eq!(exit_code_of("81:0"), Some(81));
    }
}
