//! A stage's resource request as options of `sbatch` and `srun`, and the script that a node runs.

use std::path::Path;
use std::time::Duration;

use crate::pipeline::Request;
use crate::text::shell;

/// The hidden subcommand that nodes run.
pub const SUBCOMMAND: &str = "job";

/// Exit codes of the script that nothing else on a node uses.
pub const NO_FOLDER: i32 = 81;
pub const NO_PROGRAM: i32 = 82;

/// How long a file that must exist may take to become visible, unless the pipeline says otherwise.
/// Network file systems cache the absence of a file for up to a minute.
pub const LATE_FILES: Duration = Duration::from_secs(60);

/// How many seconds before its time limit a job is signalled; at most half of its time.
const WARNED_SECONDS: u64 = 60;

/// The options of a batch job.
pub fn batch_options(request: &Request) -> Vec<String> {
    let mut options = step_options(request);
    let named = [("--partition", &request.partition), ("--account", &request.account)];
    for (name, value) in named {
        options.extend(value.iter().map(|value| format!("{name}={value}")));
    }
    match request.requeue {
        Some(true) => {
            options.push("--requeue".to_owned());
            let half = request.time.map(|time| minutes(time) * 30);
            let warned = half.map_or(WARNED_SECONDS, |half| half.min(WARNED_SECONDS));
            options.push(format!("--signal=B:USR1@{warned}"));
        }
        // Slurm's default is a setting of the cluster; we want to report what happened instead.
        Some(false) | None => options.push("--no-requeue".to_owned()),
    }
    options.extend(request.options.iter().cloned());
    options
}

/// The options of a step, which is already in a partition and an account.
pub fn step_options(request: &Request) -> Vec<String> {
    let mut options = Vec::new();
    options.extend(request.gpus.filter(|gpus| *gpus > 0).map(|it| format!("--gres=gpu:{it}")));
    options.extend(request.cpus.map(|cpus| format!("--cpus-per-task={cpus}")));
    options.extend(request.memory.as_ref().map(|memory| format!("--mem={memory}")));
    options.extend(request.time.map(|time| format!("--time={}", minutes(time))));
    options
}

/// Slurm counts in minutes; a part of a minute is rounded up.
fn minutes(time: Duration) -> u64 {
    time.as_secs().div_ceil(60).max(1)
}

/// The script that runs `pipe job NAME PATH` on a node, as soon as both are visible there. It
/// ignores USR1, the warning that time is nearly up, which would otherwise end the shell.
pub fn script(binary: &Path, name: &str, path: &Path, late: Duration, options: &str) -> String {
    let (binary, path) = (quoted(binary), quoted(path));
    let seconds = late.as_secs();
    format!(
        "#!/bin/sh\n\
         trap '' USR1\n\
         n=0\n\
         until [ -e {path} ]; do\n\
         \x20 [ $n -ge {seconds} ] && exit {NO_FOLDER}\n\
         \x20 n=$((n+1)); sleep 1; ls \"$(dirname {path})\" >/dev/null 2>&1\n\
         done\n\
         [ -x {binary} ] || exit {NO_PROGRAM}\n\
         exec {binary} {} {options}{name} {path}\n",
        SUBCOMMAND
    )
}

/// The script that runs `pipe job --from SPEC NAME PARCEL` on a node that sees neither the store
/// nor the project. Each member of an array has a parcel of its own.
pub fn script_by_remote(binary: &Path, name: &str, parcels: &[String], spec: &str) -> String {
    let (binary, spec) = (quoted(binary), quoted(Path::new(spec)));
    format!(
        "#!/bin/sh\n\
         trap '' USR1\n\
         [ -x {binary} ] || exit {NO_PROGRAM}\n\
         parcel=$(sed -n \"$((${{SLURM_ARRAY_TASK_ID:-0}}+1))p\" <<'END'\n{}\nEND\n)\n\
         exec {binary} {} --from {spec} {name} \"$parcel\"\n",
        parcels.join("\n"),
        SUBCOMMAND
    )
}

/// As a single shell word.
pub fn quoted(path: &Path) -> String {
    shell::quoted(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{batch_options, quoted, step_options};
    use crate::pipeline::Request;

    #[test]
    fn a_request_becomes_options_and_a_part_of_a_minute_a_whole_one() {
        let request = Request {
            gpus: Some(2),
            cpus: Some(4),
            memory: Some("8G".to_owned()),
            time: Some(Duration::from_secs(61)),
            partition: Some("gpu".to_owned()),
            account: Some("lab".to_owned()),
            requeue: Some(true),
            options: vec!["--qos=high".to_owned()],
            ..Request::default()
        };
        let step = ["--gres=gpu:2", "--cpus-per-task=4", "--mem=8G", "--time=2"];
        assert_eq!(step_options(&request), step);
        let more = ["--partition=gpu", "--account=lab", "--requeue", "--signal=B:USR1@60"];
        let all: Vec<&str> = step.into_iter().chain(more).chain(["--qos=high"]).collect();
        assert_eq!(batch_options(&request), all);
        assert_eq!(batch_options(&Request::default()), ["--no-requeue"]);
    }

    #[test]
    fn a_path_is_one_word_of_the_script() {
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
