//! What README and `docs/` show is true: every command in them runs in a copy of the sample project,
//! and the reference of the stages is what the binary prints.
//!
//! The first word of a block's info string is its language, the others say what is special:
//! `needs-…` blocks are not run, `exit-N` expects this status, `file=NAME` is written to the project.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::Project;

/// What a machine may lack. Blocks with one of these words are not run.
const NEEDS: [&str; 6] =
    ["needs-network", "needs-gpu", "needs-slurm", "needs-cargo", "needs-data", "needs-service"];

const GENERATED: &str =
    "PIPE_UPDATE_DOCS=1 cargo test --no-default-features --test it documentation -->\n\n";

/// A fenced block of a page.
struct Block {
    line: usize,
    language: String,
    words: Vec<String>,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages whose commands are run, relative to the repository.
fn pages() -> Vec<PathBuf> {
    let chapters = fs::read_dir(root().join("docs")).unwrap();
    let chapters = chapters.map(|entry| Path::new("docs").join(entry.unwrap().file_name()));
    let chapters =
        chapters.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut pages: Vec<PathBuf> = chapters.collect();
    pages.extend(["README.md", "examples/README.md"].map(PathBuf::from));
    pages.sort();
    pages
}

fn read(page: &Path) -> String {
    let path = root().join(page);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn blocks(page: &Path) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (index, line) in read(page).lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if open => open = false,
            Some(info) => {
                let mut words = info.split_whitespace().map(str::to_owned);
                let language = words.next().unwrap_or_default();
                let (line, text) = (index + 1, String::new());
                blocks.push(Block { line, language, words: words.collect(), text });
                open = true;
            }
            None if open => {
                let text = &mut blocks.last_mut().unwrap().text;
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
    }
    assert!(!open, "{}: the last block of code has no end", page.display());
    blocks
}

impl Block {
    fn is_run(&self) -> bool {
        self.shows_commands() && !self.words.iter().any(|word| NEEDS.contains(&word.as_str()))
    }

    fn shows_commands(&self) -> bool {
        ["sh", "console"].contains(&self.language.as_str())
    }

    fn file(&self) -> Option<&str> {
        self.words.iter().find_map(|word| word.strip_prefix("file="))
    }

    fn exit(&self) -> Option<i32> {
        self.words.iter().find_map(|word| word.strip_prefix("exit-")?.parse().ok())
    }

    /// The commands: all lines of `sh`, of `console` those after a `$`.
    fn script(&self) -> String {
        if self.language == "sh" {
            return self.text.clone();
        }
        let commands = self.text.lines().filter_map(|line| line.strip_prefix("$ "));
        commands.map(|command| format!("{command}\n")).collect()
    }
}

#[test]
fn every_block_of_commands_is_run_or_says_what_it_needs() {
    let mut run = 0;
    for page in pages() {
        for block in blocks(&page) {
            let place = format!("{}:{}", page.display(), block.line);
            for word in &block.words {
                let known = NEEDS.contains(&word.as_str())
                    || block.exit().is_some()
                    || block.file().is_some();
                assert!(known, "{place}: unknown word `{word}`");
            }
            if block.is_run() {
                assert!(!block.script().is_empty(), "{place}: no command");
                run += 1;
            }
            let shown = !block.shows_commands() && block.text.contains("pipe run\n");
            assert!(!shown, "{place}: a command in a block of `{}`", block.language);
        }
    }
    assert!(run >= 20, "only {run} blocks of commands are run");
}

#[test]
fn the_yaml_of_the_pages_parses() {
    for page in pages() {
        for block in blocks(&page).iter().filter(|block| block.language == "yaml") {
            if let Err(error) = serde_yaml::from_str::<serde_yaml::Value>(&block.text) {
                panic!("{}:{}: {error}", page.display(), block.line);
            }
        }
    }
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    let link = regex::Regex::new(r"\]\(([^)#:]*)(?:#([^)]*))?\)").unwrap();
    for page in pages() {
        let text = read(&page);
        for found in link.captures_iter(&text) {
            let target = match &found[1] {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let path = root().join(&target);
            assert!(path.exists(), "{}: no {}", page.display(), &found[1]);
            let Some(anchor) = found.get(2).map(|anchor| anchor.as_str()) else { continue };
            let headings = read(&target);
            let headings = headings.lines().filter(|line| line.starts_with('#'));
            let mut anchors = headings.map(|line| anchor_of(line.trim_start_matches('#')));
            let path = target.display();
            assert!(anchors.any(|known| known == anchor), "{}: no {path}#{anchor}", page.display());
        }
    }
}

/// A heading as GitHub names it in a link.
fn anchor_of(heading: &str) -> String {
    let heading = heading.trim().to_lowercase().replace(' ', "-");
    heading.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
}

#[test]
fn the_reference_of_the_stages_is_what_the_binary_prints() {
    let printed = Project::new("").pipe(&["stages", "--markdown"]).expect_code(0).stdout;
    let page = Path::new("docs/stages.md");
    let text = read(page);
    let (head, generated) =
        text.split_once(GENERATED).expect("docs/stages.md has no generated part");
    if std::env::var_os("PIPE_UPDATE_DOCS").is_some() {
        return fs::write(root().join(page), format!("{head}{GENERATED}{printed}")).unwrap();
    }
    let same = generated == printed;
    assert!(same, "docs/stages.md is old: `PIPE_UPDATE_DOCS=1` and this test renew it");
}

#[test]
fn every_path_that_contributing_names_exists() {
    let text = read(Path::new("CONTRIBUTING.md"));
    let path = regex::Regex::new(r"`([\w.-]+/[\w./-]*|\.ci/run)[ `]").unwrap();
    let mut checked = 0;
    for found in path.captures_iter(&text) {
        assert!(root().join(&found[1]).exists(), "CONTRIBUTING.md: there is no `{}`", &found[1]);
        checked += 1;
    }
    assert!(checked > 60, "only {checked} paths were found");
    for folder in folders() {
        assert!(
            text.contains(&format!("**`{folder}/`**")),
            "CONTRIBUTING.md does not describe `{folder}/`"
        );
    }
}

/// The folders of both crates, each with a paragraph in CONTRIBUTING.md.
fn folders() -> Vec<String> {
    let below = |source: &'static str| {
        let entries = fs::read_dir(root().join(source)).unwrap().map(|entry| entry.unwrap());
        let folders = entries.filter(|entry| entry.path().is_dir());
        folders.map(move |entry| format!("{source}/{}", entry.file_name().to_str().unwrap()))
    };
    below("src").chain(below("stages/src")).collect()
}

#[cfg(feature = "model")]
mod commands {
    use std::os::unix::fs::symlink;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::harness::Ended;

    /// A copy of what the repository has for its users, with a training of one epoch.
    fn sample_project() -> Project {
        let pipeline = fs::read_to_string(root().join("pipeline.yaml")).unwrap();
        assert!(pipeline.contains("epochs: 6"));
        let project = Project::new(&pipeline.replace("epochs: 6", "epochs: 1"));
        let folders = ["data/sample", "models/tweet-encoder", "models/small-roberta", "examples"];
        for folder in folders {
            fs::create_dir_all(project.path(folder)).unwrap();
            for entry in fs::read_dir(root().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let copy = project.path(folder).join(path.file_name().unwrap());
                    fs::copy(&path, copy).unwrap();
                }
            }
        }
        for link in ["data", "models"] {
            symlink(format!("../{link}"), project.path("examples").join(link)).unwrap();
        }
        fs::create_dir(project.path("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_pipe"), project.path("bin/pipe")).unwrap();
        project
    }

    fn shell(project: &Project, script: &str) -> Ended {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command.args(["-euc", script]).current_dir(project.path("")).stdin(Stdio::null());
        command.env("PATH", format!("{}:{path}", project.path("bin").display()));
        command.env("XDG_CONFIG_HOME", project.path("config")).env_remove("PIPE_CACHE");
        Ended::of(command.output().unwrap())
    }

    /// Runs a page from top to bottom in one project.
    #[track_caller]
    fn run_page(page: &str) {
        let project = sample_project();
        let mut run = 0;
        for block in blocks(Path::new(page)) {
            if let Some(name) = block.file() {
                project.write(name, &block.text);
            }
            if !block.is_run() {
                continue;
            }
            let ended = shell(&project, &block.script());
            let expected = block.exit().unwrap_or(0);
            assert_eq!(
                ended.code,
                Some(expected),
                "{page}:{}:\n{}\n{}{}",
                block.line,
                block.text,
                ended.stdout,
                ended.stderr
            );
            run += 1;
        }
        assert!(run > 0, "{page} has no command to run");
    }

    /// One test a page, so that they run side by side.
    macro_rules! pages {
        ($($test:ident: $page:literal,)*) => {
            $(#[test] fn $test() { run_page($page); })*

            #[test]
            fn no_page_is_forgotten() {
                let tested = [$($page),*];
                for page in super::pages() {
                    let has_commands = blocks(&page).iter().any(Block::is_run);
                    let page = page.to_str().unwrap().to_owned();
                    assert_eq!(tested.contains(&page.as_str()), has_commands, "{page}");
                }
            }
        };
    }

    pages! {
        the_commands_of_the_readme_run: "README.md",
        the_commands_of_the_examples_run: "examples/README.md",
        the_commands_about_audits_and_gates_run: "docs/audit.md",
        the_commands_about_the_cache_run: "docs/cache.md",
        the_commands_about_determinism_run: "docs/determinism.md",
        the_commands_about_exports_run: "docs/export.md",
        the_commands_about_gpus_run: "docs/gpu.md",
        the_commands_about_the_pipeline_run: "docs/pipeline.md",
        the_commands_about_remotes_run: "docs/remotes.md",
        the_commands_about_the_service_run: "docs/serve.md",
        the_commands_about_stages_run: "docs/stages.md",
        the_commands_about_staleness_run: "docs/staleness.md",
    }

    #[test]
    fn what_a_shared_result_page_promises_holds() {
        let project = sample_project();
        let page = blocks(Path::new("docs/remotes.md"));
        let yaml = page.iter().find(|block| block.file() == Some("shared.yaml")).unwrap();
        project.write("shared.yaml", &yaml.text);
        for block in page.iter().filter(|block| block.is_run()) {
            let ended = shell(&project, &block.script()).expect_code(0);
            let last = ended.stderr.lines().last().unwrap_or_default();
            assert!(last.starts_with("nothing to do"), "{}", ended.stderr);
        }
    }
}
