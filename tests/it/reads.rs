//! What a stage can read is what its key knows: execute bits, empty folders, the file names of
//! outputs, environment variables. And sources that nobody can read, or that change meanwhile.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use pipe::files::digest::Digest;
use pipe::files::tree::{Tree, TreeFile};
use pipe::store::key::env_text;

use crate::harness::{Project, open_gate};
use crate::remotes::Lab;

#[track_caller]
fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// The reason for which `a` would run, or that it would not.
#[track_caller]
fn status(project: &Project) -> String {
    let status = project.pipe(&["status"]).expect_code(0);
    status.stdout.lines().find(|line| line.contains("a  ")).unwrap_or(&status.stdout).to_owned()
}

#[test]
fn the_execute_bit_of_a_source_and_of_a_script_in_a_source_folder_is_in_the_key() {
    let project = Project::new(
        "stages:
  a:
    run: for f in $IN_one $IN_all/two; do test -x $f && echo yes || echo no; done > $OUT_x
    inputs: {one: one.sh, all: scripts}
    outputs: [x]
    publish: {x: x.txt}\n",
    );
    project.write("one.sh", "echo one\n");
    project.write("scripts/two", "echo two\n");
    let (one, two) = (project.path("one.sh"), project.path("scripts/two"));
    for file in [&one, &two] {
        chmod(file, 0o644);
    }
    project.expect_run(&[], "a=ran").expect_code(0);
    assert_eq!(project.read("x.txt"), "no\nno\n");
    chmod(&one, 0o744);
    let said = status(&project);
    assert!(said.contains("input `one` is executable now (one.sh)"), "{said}");
    project.expect_run(&[], "a=ran").expect_code(0);
    assert_eq!(project.read("x.txt"), "yes\nno\n");
    chmod(&two, 0o755);
    let said = status(&project);
    assert!(said.contains("input `all` changed: two"), "{said}");
    project.expect_run(&[], "a=ran").expect_code(0);
    assert_eq!(project.read("x.txt"), "yes\nyes\n");
    // Another umask is not another file.
    chmod(&one, 0o700);
    chmod(&two, 0o775);
    project.expect_run(&[], "a=hit").expect_code(0);
    for (file, mode) in [(&one, 0o600), (&two, 0o444)] {
        chmod(file, mode);
    }
    project.expect_run(&[], "a=hit").expect_code(0);
    assert_eq!(project.read("x.txt"), "no\nno\n");
}

/// `a` makes programs; one has the bytes of a plain file. `b` calls them.
const PROGRAMS: &str = "stages:
  a:
    run: |
      printf '#!/bin/sh\\necho it runs\\n' > $OUT_program; chmod u+x $OUT_program
      cp $OUT_program $OUT_plain; chmod 644 $OUT_plain
      mkdir -p $OUT_tools/sub/void $OUT_tools/nothing; cp -p $OUT_program $OUT_tools/sub/run
      cp $OUT_plain $OUT_tools/text
    outputs: [program, plain, tools]
    publish: {program: bin/program, plain: bin/plain, tools: tools}
  b:
    run: |
      $IN_program > $OUT_said; $IN_tools/sub/run >> $OUT_said
      test -x $IN_plain || test -x $IN_tools/text || echo the others do not >> $OUT_said
      (cd $IN_tools; find . -type d | LC_ALL=C sort) >> $OUT_said
    inputs: {program: a:program, plain: a:plain, tools: a:tools}
    outputs: [said]
    publish: {said: said.txt}
";

const SAID: &str = "it runs\nit runs\nthe others do not\n.\n./nothing\n./sub\n./sub/void\n";

#[track_caller]
fn expect_programs(project: &Project) {
    assert_eq!(project.read("said.txt"), SAID);
    for (file, executable) in [
        ("bin/program", true),
        ("bin/plain", false),
        ("tools/sub/run", true),
        ("tools/text", false),
    ] {
        let found = mode(&project.path(file));
        assert_eq!(found & 0o111 != 0, executable, "{file} has {found:o}");
        assert_ne!(found & 0o200, 0, "{file} is writable");
    }
    for folder in ["tools/nothing", "tools/sub/void"] {
        assert_eq!(fs::read_dir(project.path(folder)).unwrap().count(), 0);
    }
}

#[test]
fn a_program_that_one_stage_makes_runs_in_the_next_and_where_it_is_published() {
    let project = Project::new(PROGRAMS);
    project.expect_run(&[], "a=ran b=ran").expect_code(0);
    expect_programs(&project);
    project.expect_run(&[], "a=hit b=hit").expect_code(0);
    for path in ["bin", "tools"] {
        fs::remove_dir_all(project.path(path)).unwrap();
    }
    project.pipe(&["restore", "last"]).expect_code(0);
    expect_programs(&project);
    // Published files that lost their execute bit, or a folder, are put back.
    chmod(&project.path("bin/program"), 0o644);
    fs::remove_dir(project.path("tools/nothing")).unwrap();
    project.expect_run(&[], "a=hit b=hit").expect_code(0);
    expect_programs(&project);
    // On some file systems every file is executable: that is no edit.
    chmod(&project.path("bin/plain"), 0o755);
    chmod(&project.path("tools/text"), 0o755);
    let run = project.expect_run(&[], "a=hit b=hit").expect_code(0);
    assert!(!run.stdout.contains("kept_edited"), "{}", run.stdout);
    project.pipe(&["cache", "verify"]).expect_code(0);
    project.pipe(&["cache", "gc", "--keep-last", "1"]).expect_code(0);
    project.expect_run(&[], "a=hit b=hit").expect_code(0);
}

#[test]
fn a_program_stays_executable_in_a_cache_that_was_copied_without_modes() {
    let project = Project::new(PROGRAMS);
    project.expect_run(&[], "a=ran b=ran").expect_code(0);
    for object in project.stored("objects") {
        chmod(&object, 0o644);
    }
    project.expect_run(&["--force=b"], "a=hit b=ran").expect_code(0);
    expect_programs(&project);
    for object in project.stored("objects") {
        chmod(&object, 0o777);
    }
    project.expect_run(&["--force=b"], "a=hit b=ran").expect_code(0);
    expect_programs(&project);
}

#[test]
fn a_program_is_executable_after_a_pull() {
    let lab = Lab::new();
    let remotes = format!("remotes: {{lab: '{}'}}\n{PROGRAMS}", lab.root().display());
    let (here, there) = (Project::new(&remotes), Project::new(&remotes));
    here.expect_run(&["--remote", "lab"], "a=ran b=ran").expect_code(0);
    let digests = here.run(&[]).expect_code(0).digests();
    there.pipe(&["pull", "--remote", "lab", "a"]).expect_code(0);
    let run = there.expect_run(&["--offline"], "a=hit b=ran").expect_code(0);
    assert_eq!(run.digests(), digests);
    expect_programs(&there);
}

#[test]
fn two_runs_that_differ_in_an_execute_bit_or_an_empty_folder_are_not_stable() {
    let project = Project::new(
        "stages:
  a: {run: 'mkdir $OUT_d; echo 1 > $OUT_d/f; test -e odd && chmod +x $OUT_d/f || mkdir $OUT_d/e; touch odd', outputs: [d]}\n",
    );
    let verify = project.pipe(&["verify", "a"]).expect_code(1);
    assert!(verify.stdout.contains("e/: only in the first"), "{}", verify.stdout);
    assert!(verify.stdout.contains("f: executable only in the second"), "{}", verify.stdout);
}

#[test]
fn the_empty_folders_of_a_source_are_in_the_key() {
    let project = Project::new(
        "stages:\n  a: {run: 'ls $IN_d > $OUT_x', inputs: {d: data}, outputs: [x], publish: {x: x.txt}}\n",
    );
    project.write("data/file", "1\n");
    project.expect_run(&[], "a=ran").expect_code(0);
    fs::create_dir_all(project.path("data/one/two")).unwrap();
    let said = status(&project);
    assert!(said.contains("input `d` changed: one/two/ added"), "{said}");
    project.expect_run(&[], "a=ran").expect_code(0);
    assert_eq!(project.read("x.txt"), "file\none\n");
    fs::remove_dir_all(project.path("data/one")).unwrap();
    project.expect_run(&[], "a=hit").expect_code(0);
}

fn file(text: &str, executable: bool) -> TreeFile {
    let bytes = text.len() as u64;
    TreeFile { digest: Digest::of_bytes(text.as_bytes()), bytes, executable }
}

fn tree(files: &[(&str, TreeFile)], folders: &[&str]) -> Tree {
    Tree {
        files: files.iter().map(|(path, file)| ((*path).to_owned(), *file)).collect(),
        empty_folders: folders.iter().map(|path| (*path).to_owned()).collect(),
    }
}

#[test]
fn a_folder_without_programs_and_empty_folders_has_the_listing_that_it_always_had() {
    let plain = tree(&[("a b", file("1", false)), ("sub/c", file("22", false))], &[]);
    let (one, two) = (Digest::of_bytes(b"1"), Digest::of_bytes(b"22"));
    assert_eq!(plain.to_text(), format!("tree 1\n{one} 1 a b\n{two} 2 sub/c\n"));
    assert_eq!(tree(&[], &[]).to_text(), "tree 1\n");
}

#[test]
fn no_name_of_a_file_makes_two_folders_look_alike() {
    let digest = file("1", false).digest;
    let forged =
        [format!("executable {digest} 1 f"), format!("{digest} 1 f"), "folder f".to_owned()];
    let mut trees = Vec::new();
    for name in ["f", "executable", "folder", "f ", " f", "f\r", "tree 2"]
        .into_iter()
        .chain(forged.iter().map(String::as_str))
    {
        for executable in [false, true] {
            trees.push(tree(&[(name, file("1", executable))], &[]));
            trees.push(tree(&[(name, file("1", executable))], &["z"]));
        }
        trees.push(tree(&[], &[name]));
        trees.push(tree(&[("z", file("1", false))], &[name]));
    }
    for (index, one) in trees.iter().enumerate() {
        assert_eq!(Tree::parse(&one.to_text()).as_ref(), Some(one));
        for other in &trees[index + 1..] {
            assert_ne!(one.to_text(), other.to_text());
        }
    }
}

#[test]
fn a_listing_that_no_folder_has_is_refused() {
    let digest = Digest::of_bytes(b"1");
    for wrong in [
        format!("tree 2\n{digest} 1 f\n"),
        format!("tree 1\nexecutable {digest} 1 f\n"),
        "tree 1\nfolder f\n".to_owned(),
        format!("tree 1\n{digest} 1 f\n{digest} 1 f/g\n"),
        format!("tree 2\n{digest} 1 f\nfolder f\n"),
        format!("tree 2\n{digest} 1 f/g\nfolder f\n"),
        format!("tree 2\n{digest} 1 f\nfolder f/g\n"),
        format!("tree 1\n{digest} 1 g\n{digest} 1 f\n"),
        format!("tree 1\n{digest} 01 f\n"),
        format!("tree 1\n{digest} 1 f"),
        "tree 2\nfolder ../f\n".to_owned(),
        "tree 2\nfolder \n".to_owned(),
        "tree 2\n".to_owned(),
    ] {
        assert_eq!(Tree::parse(&wrong), None, "{wrong}");
    }
}

#[test]
fn the_file_name_of_an_output_is_in_the_key() {
    let yaml = |file: &str| {
        format!(
            "stages:\n  a: {{run: 'echo $(basename $OUT_x) > $OUT_x', outputs: {file}, publish: {{x: out.txt}}}}\n"
        )
    };
    let project = Project::new(&yaml("[x]"));
    project.expect_run(&[], "a=ran").expect_code(0);
    // The same name, written as a map.
    project.write("pipeline.yaml", &yaml("{x: x}"));
    project.expect_run(&[], "a=hit").expect_code(0);
    for (file, said) in [("a.csv", "x → a.csv"), ("b.json", "a.csv → b.json")] {
        project.write("pipeline.yaml", &yaml(&format!("{{x: {file}}}")));
        let status = status(&project);
        assert!(status.contains(&format!("the file of output `x` {said}")), "{status}");
        project.expect_run(&[], "a=ran").expect_code(0);
        assert_eq!(project.read("out.txt"), format!("{file}\n"));
        project.expect_run(&[], "a=hit").expect_code(0);
    }
}

#[test]
fn a_value_of_the_environment_that_is_not_utf8_is_no_other_value() {
    let text = |bytes: &[u8]| env_text(OsString::from_vec(bytes.to_vec()));
    assert_eq!(text("bytes \\xff é".as_bytes()), "bytes \\xff é");
    let values: [&[u8]; 6] =
        [b"\xff", b"bytes \\xff", b"\\xff", b"\\\xff", b"\\\\xff\xff", b"\xff\xff"];
    for (index, one) in values.iter().enumerate() {
        for other in &values[index + 1..] {
            assert_ne!(text(one), text(other));
        }
    }
    let project = Project::new("stages:\n  a: {run: 'echo $X > $OUT_x', env: [X], outputs: [x]}\n");
    let run = |value: &[u8], arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipe"));
        command.args(arguments).current_dir(project.path("")).env_remove("PIPE_CACHE");
        command.env("X", OsString::from_vec(value.to_vec()));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(run(b"\xff", &["run", "--json"]).contains("\"outcome\":\"ran\""));
    assert!(run(b"\xff", &["run", "--json"]).contains("\"outcome\":\"hit\""));
    let status = run(b"bytes \\xff", &["status"]);
    assert!(status.contains("$X \\xff (not UTF-8) → bytes \\xff"), "{status}");
    assert!(!status.contains('\0'));
    assert!(run(b"bytes \\xff", &["run", "--json"]).contains("\"outcome\":\"ran\""));
}

#[test]
fn a_stage_that_writes_into_its_source_folder_is_told_what() {
    let project = Project::new(
        "stages:\n  a: {run: 'touch data/cached; cat $IN_d/file > $OUT_x', inputs: {d: data}, outputs: [x]}\n",
    );
    project.write("data/file", "1\n");
    let run = project.pipe(&["run"]).expect_code(1);
    let said =
        "its input `d` (data) changed while it ran: cached added, so its result was discarded";
    assert!(run.stderr.contains(said), "{}", run.stderr);
}

#[test]
fn a_link_to_nothing_in_a_published_folder_is_an_edit() {
    let project = Project::new(
        "stages:\n  a: {run: 'mkdir $OUT_d; echo $PARAM_n > $OUT_d/f', params: {n: 1}, outputs: [d], publish: {d: out}}\n",
    );
    project.expect_run(&[], "a=ran").expect_code(0);
    let link = project.path("out/mine");
    symlink("gone", &link).unwrap();
    project.expect_run(&["--set", "a.n=2"], "a=ran").expect_code(0);
    assert!(link.is_symlink());
    assert_eq!(project.read("out/f"), "1\n");
}

const LISTS: &str = "stages:\n  a: {run: 'ls $IN_d > $OUT_x', inputs: {d: data}, outputs: [x], publish: {x: x.txt}}\n";

#[test]
fn what_is_no_file_in_a_source_folder_is_refused_instead_of_waited_for() {
    type Make = fn(&Project);
    let cases: [(&str, Make); 4] = [
        ("it is a FIFO (a named pipe), not a file", |project| drop(project.fifo("data/odd"))),
        ("it is a FIFO (a named pipe), not a file", |project| {
            symlink(project.fifo("fifo"), project.path("data/odd")).unwrap();
        }),
        ("it is a device, not a file", |project| {
            symlink("/dev/zero", project.path("data/odd")).unwrap();
        }),
        ("it is a socket, not a file", |project| {
            std::os::unix::net::UnixListener::bind(project.path("data/odd")).unwrap();
        }),
    ];
    for (problem, make) in cases {
        let project = Project::new(LISTS);
        project.write("data/file", "1\n");
        make(&project);
        for command in ["status", "run"] {
            let ended = project.pipe(&[command]).expect_code(2);
            let said = ended.stderr.replace(&*project.path("").to_string_lossy(), "");
            assert!(said.contains(&format!("data/odd`: {problem}")), "{said}");
            assert!(said.contains("hint: reading it might never end: remove it"), "{said}");
        }
    }
}

#[test]
fn a_fifo_that_appears_in_a_source_during_a_run_ends_the_stage() {
    let project = Project::new(
        "stages:\n  a: {run: 'mkfifo data/odd; echo 1 > $OUT_x', inputs: {d: data}, outputs: [x]}\n",
    );
    project.write("data/file", "1\n");
    let run = project.expect_run(&[], "a=failed").expect_code(1);
    let message = run.about("stage_finished", "a")["message"].to_string();
    assert!(message.contains("it is a FIFO"), "{message}");
    assert_eq!(project.stored("records").len(), 0);
}

#[test]
fn a_fifo_in_an_output_is_refused() {
    let project =
        Project::new("stages:\n  a: {run: 'mkdir $OUT_d; mkfifo $OUT_d/odd', outputs: [d]}\n");
    let run = project.expect_run(&[], "a=failed").expect_code(1);
    let message = run.about("stage_finished", "a")["message"].to_string();
    assert!(message.contains("it is a FIFO"), "{message}");
}

#[test]
fn a_file_that_is_truncated_while_it_is_hashed_kills_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = File::create(&path).unwrap();
    let bytes = 16 << 20;
    std::thread::scope(|scope| {
        let hashes = scope.spawn(|| (0..30).for_each(|_| drop(Digest::of_file(&path))));
        while !hashes.is_finished() {
            file.set_len(bytes).unwrap();
            file.set_len(0).unwrap();
        }
    });
    file.set_len(bytes).unwrap();
    let zeros = vec![0; bytes as usize];
    assert_eq!(Digest::of_file(&path).unwrap(), Digest::of_bytes(&zeros));
}

#[test]
fn files_of_all_lengths_have_the_digest_of_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let pattern: Vec<u8> = (0..9_000_000u32).map(|n| (n / 7 % 251) as u8).collect();
    let piece = 256 << 10;
    for near in [0, 8192, piece, piece + 8192, 4 * piece, 16 * piece + 8192, 32 * piece] {
        for length in near.max(1) - 1..near + 2 {
            fs::write(&path, &pattern[..length]).unwrap();
            let digest = Digest::of_file(&path).unwrap();
            assert_eq!(digest, Digest::of_bytes(&pattern[..length]), "{length}");
        }
    }
}

#[test]
fn a_link_to_nothing_in_a_source_folder_is_left_out_with_a_warning() {
    let project = Project::new(LISTS);
    project.write("data/sub/file", "1\n");
    project.expect_run(&[], "a=ran").expect_code(0);
    // An editor's lock.
    symlink("someone@host.1234:5678", project.path("data/.#file")).unwrap();
    let run = project.pipe(&["run"]).expect_code(0);
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    symlink("gone", project.path("data/sub/link")).unwrap();
    symlink("itself", project.path("data/itself")).unwrap();
    symlink("sub/file/x", project.path("data/through")).unwrap();
    for command in ["status", "run"] {
        let ended = project.pipe(&[command]).expect_code(0);
        for link in ["sub/link", "itself", "through"] {
            let warned = format!("data/{link}` is a link to nothing");
            assert!(ended.stderr.contains(&warned), "{}", ended.stderr);
        }
    }
    project.expect_run(&[], "a=hit").expect_code(0);
    project.write("data/sub/gone", "2\n");
    project.expect_run(&[], "a=ran").expect_code(0);
}

#[test]
fn a_link_to_nothing_in_an_output_is_refused() {
    let project =
        Project::new("stages:\n  a: {run: 'mkdir $OUT_d; ln -s gone $OUT_d/x', outputs: [d]}\n");
    let run = project.expect_run(&[], "a=failed").expect_code(1);
    let message = run.about("stage_finished", "a")["message"].to_string();
    assert!(message.contains("it is a link to nothing"), "{message}");
}

#[test]
fn sparse_files_stay_sparse() {
    let project = Project::new(
        "stages:
  a:
    run: |
      truncate -s 20M $OUT_f; printf end >> $OUT_f; mkdir $OUT_d; truncate -s 20M $OUT_d/empty
      truncate -s 20M $OUT_d/g; printf begin | dd of=$OUT_d/g conv=notrunc status=none
      ln $OUT_d/g $OUT_d/hard; ln -s g $OUT_d/soft
    outputs: [f, d]
    publish: {f: out/f, d: out/d}\n",
    );
    project.expect_run(&[], "a=ran").expect_code(0);
    let published = ["f", "d/empty", "d/g", "d/hard", "d/soft"];
    let published = published.map(|file| project.path(&format!("out/{file}")));
    for path in project.stored("objects").iter().chain(&published) {
        let metadata = fs::metadata(path).unwrap();
        assert!(metadata.blocks() * 512 < 1 << 20, "{} {}", path.display(), metadata.blocks());
    }
    let f = fs::read(&published[0]).unwrap();
    assert!(f.len() == (20 << 20) + 3 && f.ends_with(b"\0end"));
    let g = fs::read(&published[4]).unwrap();
    assert!(g.len() == 20 << 20 && g.starts_with(b"begin\0"));
}

#[test]
fn a_stage_that_appends_to_its_own_source_is_told_so() {
    let project = Project::new(
        "stages:\n  a: {run: 'echo more >> $IN_t; cp $IN_t $OUT_x', inputs: {t: text.txt}, outputs: [x]}\n",
    );
    project.write("text.txt", "one\n");
    let run = project.pipe(&["run"]).expect_code(1);
    let said = "its input `t` (text.txt) changed while it ran (it grew by 5 B)";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    let hint = "if the stage itself writes to `text.txt`, let it write to an output instead";
    assert!(run.stderr.contains(hint), "{}", run.stderr);
}

/// `a` begins, and waits for `gate` before it reads its source.
const WAITS: &str = "stages:\n  a: {run: 'read x < gate; cat $IN_t > $OUT_x', inputs: {t: text.txt}, outputs: [x]}\n";

#[test]
fn a_source_that_changes_and_changes_back_while_a_stage_runs_is_noticed() {
    for there_and_back in [
        ["echo other > text.txt", "echo some > text.txt"],
        ["mv text.txt kept; echo other > text.txt", "mv kept text.txt"],
        ["cp -p text.txt kept; echo other > text.txt", "cp kept text.txt; touch -r kept text.txt"],
    ] {
        let [there, back] = there_and_back;
        let project = Project::new(&format!(
            "stages:\n  a: {{run: '{there}; cat $IN_t > $OUT_x; {back}', inputs: {{t: text.txt}}, outputs: [x]}}\n"
        ));
        project.write("text.txt", "some\n");
        let run = project.expect_run(&[], "a=failed").expect_code(1);
        let message = run.about("stage_finished", "a")["message"].to_string();
        assert!(message.contains("was written to while it ran"), "{message}");
        assert_eq!(project.stored("records").len(), 0);
    }
}

#[test]
fn a_hard_link_to_a_source_may_be_an_output() {
    let project = Project::new(
        "stages:\n  a: {run: 'ln -L $IN_t $OUT_x', inputs: {t: text.txt}, outputs: [x]}\n",
    );
    project.write("text.txt", "some\n");
    project.expect_run(&[], "a=ran").expect_code(0);
    project.expect_run(&[], "a=hit").expect_code(0);
    assert_eq!(mode(&project.path("text.txt")) & 0o200, 0o200);
}

#[test]
fn a_write_through_a_memory_map_never_enters_a_record_and_no_index_always_sees_it() {
    let project = Project::new(WAITS);
    let gate = project.fifo("gate");
    project.write("text.txt", "some text\n");
    let path = project.path("text.txt");
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mut map = unsafe { memmap2::MmapMut::map_mut(&file).unwrap() };
    let mut write = |bytes: &[u8]| map[..bytes.len()].copy_from_slice(bytes);
    // From here on the page is dirty, and most file systems leave the times alone until it is clean.
    write(b"some");
    let run = |arguments: &[&str], write: &mut dyn FnMut()| {
        let mut run = project.start(arguments);
        if run.read_until("stage_started") {
            write();
            open_gate(&gate);
        }
        run.end().outcomes()
    };
    assert_eq!(run(&[], &mut || write(b"evil")), "a=failed");
    assert_eq!(project.stored("records").len(), 0);
    assert_eq!(run(&["--no-index"], &mut || write(b"same")), "a=failed");
    assert_eq!(project.stored("records").len(), 0);
    assert_eq!(run(&["--no-index"], &mut || ()), "a=ran");
    write(b"good");
    assert_eq!(run(&["--no-index"], &mut || ()), "a=ran");
}
